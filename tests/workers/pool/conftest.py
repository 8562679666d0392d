"""A worker process of the test application, and a client that knows only Celery and Redis."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from celery.result import AsyncResult

from scripts.stack.valkey import ValkeyServer

ROOT = Path(__file__).parents[3]


class Worker:
    """A real worker process with its own queue, and what a client can do with it."""

    def __init__(self, url: str, folder: Path, notes_url: str = "", **settings: Any) -> None:
        self.queue = f"q{uuid.uuid4().hex[:8]}"
        self.unacked = f"{self.queue}:unacked"
        self.name = f"{self.queue}@test"
        self.log = folder / f"{self.queue}.log"
        self.settings = {
            "worker_pool": "workers.pool:AsyncioPool",
            "worker_concurrency": 10,
            "broker_url": url,
            "notes_url": notes_url or url,
            "result_backend": url,
            "task_default_queue": self.queue,
            "broker_transport_options": {"unacked_key": self.unacked, "unacked_index_key": f"{self.unacked}:index"},
            "task_acks_late": True,
            "task_reject_on_worker_lost": True,
            "worker_prefetch_multiplier": 1,
            "worker_hijack_root_logger": True,
            "broker_connection_retry_on_startup": True,
            "worker_cancel_long_running_tasks_on_connection_loss": False,
            "worker_drain_timeout_s": 0,  # tests of stopping give their own
            **settings,
        }
        self.redis = redis.Redis.from_url(url, decode_responses=True, socket_timeout=None)
        self.notes_redis = redis.Redis.from_url(notes_url or url, decode_responses=True, socket_timeout=None)
        self.app = Celery(self.queue, set_as_current=False)
        self.app.conf.update({k: v for k, v in self.settings.items() if k != "worker_pool"})
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Worker:
        """Start the process and return when it consumes. Raises `AssertionError` if it ends instead."""
        arguments = ["-A", "tests.workers.pool.worker_app", "worker", "-n", self.name, "-l", "INFO"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", *arguments, "--without-gossip", "--without-mingle"],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "POOL_TEST_SETTINGS": json.dumps(self.settings)},
                start_new_session=True,
            )
        ended = self.process.poll
        wait_until(lambda: " ready." in self.log.read_text() or ended() is not None, explain=self.tail)
        assert ended() is None, f"the worker ended with {ended()}: {self.tail()}"
        return self

    def send(self, task: str, *args: Any, **options: Any) -> AsyncResult[Any]:
        return self.app.send_task(f"tests.workers.pool.worker_app.{task}", args, **options)

    def call(self, task: str, *args: Any, **options: Any) -> Any:
        """Send a task and wait for its result."""
        return self.send(task, *args, **options).get(timeout=20)

    def notes(self, key: str, count: int, timeout_s: float = 20) -> list[Any]:
        """Wait until `count` notes have come to a list and take them off it."""
        taken: list[Any] = []
        for _ in range(count):
            item = self.notes_redis.blpop([key], timeout=timeout_s)
            assert item is not None, f"{len(taken)} of {count} notes on {key}: {taken}\n{self.tail()}"
            taken.append(json.loads(item[1]))
        return taken

    def open(self, gate: str) -> None:
        """Let the tasks end that wait there, and those that come later."""
        self.notes_redis.rpush(gate, "open")

    def ask(self, command: str, **arguments: Any) -> Any:
        """Answer of this worker to a remote control or inspect command."""
        replies = self.app.control.broadcast(
            command, arguments, reply=True, destination=[self.name], timeout=10, limit=1
        )
        assert replies, self.tail()
        return replies[0][self.name]

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def wait(self, timeout_s: float = 20) -> int:
        """Exit code of the process, when it has ended."""
        assert self.process is not None
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the worker did not exit:\n{self.tail()}") from None

    def stop(self) -> None:
        """End the process, whatever state it is in."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        self.app.close()
        self.redis.close()
        self.notes_redis.close()

    def wait_for_log(self, text: str, timeout_s: float = 20) -> str:
        """The log, when `text` is in it."""
        wait_until(lambda: text in self.log.read_text(), timeout_s, self.tail)
        return self.log.read_text()

    def tail(self) -> str:
        return self.log.read_text()[-4000:]

    def waiting(self) -> int:
        """Messages in the queue."""
        return int(self.redis.llen(self.queue))

    def held(self) -> int:
        """Messages that the broker believes to be with the worker."""
        return int(self.redis.hlen(self.unacked))

    def robbed_s(self) -> float:
        """Time its threads were ready to run while other processes, or other machines, had the processors."""
        assert self.process is not None
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        waited_s = sum(int(thread.read_text().split()[1]) for thread in threads) / 1e9
        stolen_ticks = int(Path("/proc/stat").read_text().split(maxsplit=9)[8])
        return waited_s + stolen_ticks / os.sysconf("SC_CLK_TCK")

    def rss_mb(self) -> float:
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


def wait_until(condition: Callable[[], Any], timeout_s: float = 20, explain: Callable[[], str] = str) -> Any:
    """First true answer of a condition that no event announces."""
    deadline = time.monotonic() + timeout_s
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s\n{explain()}"
        time.sleep(0.02)
    return answer


@pytest.fixture
def start_worker(shared_valkey: ValkeyServer, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Start workers with settings of their own; they are stopped after the test."""
    workers: list[Worker] = []

    def start(**settings: Any) -> Worker:
        workers.append(Worker(settings.pop("url", shared_valkey.url), tmp_path, **settings))
        return workers[-1].start()

    yield start
    for worker in workers:
        worker.stop()


@pytest.fixture(scope="module")
def worker(shared_valkey: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One worker for the tests of a module that leave it as it was."""
    running = Worker(shared_valkey.url, tmp_path_factory.mktemp("worker"), worker_concurrency=300).start()
    yield running
    running.stop()
