"""Real workers on a real broker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import Connection

from scripts.stack.valkey import ValkeyServer
from workers.transport import install

ROOT = Path(__file__).parents[3]


def connect(url: str, **options: Any) -> Any:
    """A kombu connection, which the tests use beyond its published types."""
    return Connection(url, **options)


def wait_for(fact: Callable[[], object], *, timeout_s: float = 30) -> None:
    """Return as soon as `fact` is true; fail after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not fact():
        assert time.monotonic() < deadline, f"not true within {timeout_s} s"
        time.sleep(0.02)


@dataclass
class System:
    """A broker, the workers on it, and what their tasks wrote down."""

    server: ValkeyServer
    folder: Path
    app: Any  # Celery and redis-py, which the tests use beyond their published types
    client: Any
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_worker(
        self, *options: str, lanes: str = "lane", ready: bool = True, **environment: object
    ) -> subprocess.Popen[bytes]:
        """A worker process; returns once it consumes."""
        log = self.folder / f"worker{len(self.workers)}.log"
        command = [sys.executable, "-m", "celery", "-A", "tests.workers.transport.app", "worker", "-Q", lanes]
        command += ["--without-gossip", "--without-mingle", "--loglevel=INFO", *options]
        with log.open("wb") as out:
            worker = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env={
                    **os.environ,
                    "BROKER_URL": self.server.url,
                    "EXECUTIONS": str(self.folder / "executions"),
                    "PYTHONWARNINGS": "ignore",
                    **{name: str(value) for name, value in environment.items()},
                },
            )
        self.workers.append(worker)
        if ready:
            wait_for(lambda: b" ready." in log.read_bytes() or worker.poll() is not None)
            assert worker.poll() is None, log.read_text()
        return worker

    def log(self, number: int = -1) -> str:
        return (self.folder / f"worker{number % len(self.workers)}.log").read_text()

    def executions(self, event: str = "end") -> list[str]:
        """Names of the tasks that started, or ended, one for each time."""
        return [line.split()[1] for line in self._lines() if line.startswith(event)]

    def time_of(self, event: str, name: str) -> float:
        """When the task `name` last started or ended (Unix time)."""
        return max(float(line.split()[2]) for line in self._lines() if line.startswith(f"{event} {name} "))

    def _lines(self) -> list[str]:
        path = self.folder / "executions"
        return path.read_text().splitlines() if path.exists() else []


def kill(worker: subprocess.Popen[bytes]) -> None:
    """SIGKILL to a worker and its pool processes."""
    if worker.poll() is None:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


def stop(worker: subprocess.Popen[bytes], *, timeout_s: float = 20) -> int:
    """SIGTERM, and the exit status."""
    worker.terminate()
    return worker.wait(timeout_s)


@pytest.fixture
def system(valkey: ValkeyServer, tmp_path: Path) -> Iterator[System]:
    app = Celery("submitter", broker=valkey.url, set_as_current=False)
    app.conf.update(task_ignore_result=True, task_publish_retry=False)
    install(app)
    with redis.Redis.from_url(valkey.url) as client:
        system = System(valkey, tmp_path, app, client)
        yield system
        for worker in system.workers:
            kill(worker)
    app.close()
