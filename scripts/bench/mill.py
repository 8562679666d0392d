"""A whole docmill on fresh ports in one folder, for benches and tests that put its parts to death.

Broker, simulator, ledger, worker and beat processes; the caller decides what dies and when. Comparing what came of it
with the simulator's bill is the caller's work too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import SecretStr

from config.settings import Settings
from scripts.simulator.process import SimulatorProcess
from scripts.stack.environment import environment
from scripts.stack.part import ROOT
from scripts.stack.services import AFTER_DRAIN_S, WORKER_READY
from scripts.stack.valkey import ValkeyServer
from tasks.model.job import ENDED, JobState
from workers.intake import Source, Taken, read
from workers.ledger import Result, progress
from workers.producer import Producer, Receipt, Wish

WAIT_S = 45.0
"""Longest wait for anything, unless the caller says otherwise: within a test's own timeout."""
CELERY = (sys.executable, "-m", "celery", "-A", "workers.app")
QUICK: Mapping[str, float] = {"drain_timeout_s": 5, "visibility_timeout_s": 8, "owner_timeout_s": 3}
"""Settings that let a test see in seconds what takes a minute by default."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process of the mill, and what it printed."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def lives(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    @property
    def ready(self) -> bool:
        """Whether it is a worker that lives and takes jobs."""
        return self.lives and WORKER_READY.encode() in self.log.read_bytes()


class Mill:
    """Enter it, start workers, submit. Leaving stops everything it started, by process id.

    `simulator` are the keywords of `SimulatorProcess`, `settings` those of `Settings` on top of `QUICK`.
    """

    def __init__(
        self,
        home: Path,
        *,
        database_url: str = "",
        faults: Mapping[str, float] | None = None,
        simulator: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.home = home
        self.valkey = ValkeyServer(home / "valkey")
        self.simulator = SimulatorProcess(**{"seed": 11, "faults": dict(faults or {}), **(simulator or {})})
        self.children: list[Child] = []
        self._workers = 0
        self._chosen: dict[str, Any] = {"database_url": database_url, **QUICK, **(settings or {})}
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self.valkey.start()
            opened.callback(self.valkey.stop)
            self.simulator.start()
            opened.callback(self.simulator.stop)
            self.settings = Settings(
                home=self.home,
                redis_url=SecretStr(self.valkey.url),
                anthropic_api_key=SecretStr("simulated"),
                anthropic_base_url=self.simulator.url,
                **self._chosen,
            )
            self.producer = opened.enter_context(Producer.open(self.settings))
            opened.callback(self.stop_workers)
            self._closing = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    @property
    def environment(self) -> dict[str, str]:
        """What a process of this mill is told."""
        return environment(self.settings, os.environ)

    def spawn_worker(self) -> Child:
        """A new worker process, which is not ready yet."""
        self._workers += 1
        name = f"worker-{self._workers}"
        quietly = ("--without-gossip", "--without-mingle", "--include=scripts.stack.announce")
        return self._spawn(name, "worker", f"--hostname=w{self._workers}@test", *quietly)

    def start_worker(self) -> subprocess.Popen[bytes]:
        """A worker process that takes jobs."""
        worker = self.spawn_worker()
        self.until(lambda: worker.ready or not worker.lives, f"{worker.name} is up")
        if not worker.lives:
            raise RuntimeError(f"{worker.name} ended at its start\n{_last_lines(worker.log)}")
        return worker.process

    def start_beat(self, name: str = "beat") -> Child:
        """The process that has the sweeper swept. A second one, by another name, must do no harm."""
        return self._spawn(name, "beat", f"--schedule={self.home / name}.schedule", "--pidfile=")

    def log(self, number: int) -> Path:
        """Log file of the worker that was started as the `number`th."""
        return self.home / f"worker-{number}.log"

    def stop_workers(self) -> None:
        """SIGTERM to each child that still runs, and wait; SIGKILL once its grace is over."""
        running = [child.process for child in self.children if child.lives]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + self.settings.drain_timeout_s + AFTER_DRAIN_S
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def submit(self, documents: Iterable[str], *, hard_nanousd: int | None = None, **wish: Any) -> Receipt:
        """Submit texts, with a hard budget where one is given; the first is named `doc-0`."""
        taken = (Taken(Source(f"doc-{n}", text), read(text.encode(), f"doc-{n}")) for n, text in enumerate(documents))
        return self.producer.submit_documents(taken, Wish(**wish), hard_nanousd=hard_nanousd)

    def finish(self, receipt: Receipt) -> list[Result]:
        """Wait until every job of the submission has ended; its results."""
        self.until(lambda: self.unfinished(receipt) == 0, "every job has ended")
        return list(self.producer.results(receipt.submission_id))

    def states(self, receipt: Receipt) -> dict[JobState, int]:
        """Jobs of the submission by state, without the states that have none."""
        return {state: n for state, n in progress(self.producer.database, receipt.submission_id).items() if n}

    def unfinished(self, receipt: Receipt) -> int:
        """Jobs of the submission that have not ended."""
        return sum(count for state, count in self.states(receipt).items() if state not in ENDED)

    def until(self, condition: Callable[[], bool], what: str, *, wait_s: float = WAIT_S) -> None:
        """Poll for a condition that the outside shows. Raises `TimeoutError` when it does not come."""
        deadline = time.monotonic() + wait_s
        while not condition():
            if time.monotonic() > deadline:
                logs = "\n".join(_last_lines(child.log) for child in self.children)
                raise TimeoutError(f"waited {wait_s:.0f} s in vain until {what}\n{logs}")
            time.sleep(0.02)

    def in_flight(self) -> int:
        """Requests that the simulator is answering."""
        count: int = self.simulator.bill(totals_only=True)["totals"]["in_flight"]
        return count

    def requests(self) -> int:
        """Requests that the simulator has seen."""
        count: int = self.simulator.bill(totals_only=True)["totals"]["requests"]
        return count

    def bill(self) -> list[dict[str, Any]]:
        """The simulator's own rows, once no answer is under way."""
        self.until(lambda: self.in_flight() == 0, "the simulator is idle")
        return self.simulator.rows()

    def _spawn(self, name: str, *arguments: str) -> Child:
        path = self.home / f"{name}.log"
        with path.open("ab") as log:
            process = subprocess.Popen(
                [*CELERY, *arguments],
                env=self.environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C in the terminal is for us to pass on, in order
            )
        child = Child(name, process, path)
        self.children.append(child)
        return child


def _last_lines(log: Path, count: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
