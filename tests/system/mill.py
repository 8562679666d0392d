"""A whole docmill for a test: broker, simulator, ledger, worker processes; each may be killed by the test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from pydantic import SecretStr

from config.settings import Settings
from scripts.simulator.process import SimulatorProcess
from scripts.stack.valkey import ValkeyServer
from tasks.model.job import ENDED, JobState
from workers.intake import Source, Taken, read
from workers.ledger import Result, health, progress
from workers.producer import Producer, Receipt, Wish

WAIT_S = 45.0
"""Longest wait for anything: within a test's own timeout."""


class Mill:
    """Everything on free ports in one folder. Enter it, start workers, submit."""

    def __init__(self, home: Path, *, database_url: str = "", faults: Mapping[str, float] | None = None) -> None:
        self.home = home
        self.valkey = ValkeyServer(home / "valkey")
        self.simulator = SimulatorProcess(seed=11, faults=dict(faults or {}))
        self._database_url = database_url
        self._workers: list[subprocess.Popen[bytes]] = []
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self.valkey.start()
            opened.callback(self.valkey.stop)
            self.simulator.start()
            opened.callback(self.simulator.stop)
            self.settings = Settings(
                home=self.home,
                database_url=self._database_url,
                redis_url=SecretStr(self.valkey.url),
                anthropic_api_key=SecretStr("simulated"),
                anthropic_base_url=self.simulator.url,
                drain_timeout_s=5,
                visibility_timeout_s=8,
                owner_timeout_s=3,
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
        said = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        for name, value in self.settings.model_dump().items():
            told = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            said[name.upper() if name.startswith("anthropic") else f"DOCMILL_{name.upper()}"] = told
        return said | {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONSAFEPATH": "1"}

    def start_worker(self) -> subprocess.Popen[bytes]:
        """A worker process that has reported itself in the ledger."""
        before = health(self.producer.database).workers
        number = len(self._workers) + 1
        with self.log(number).open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "workers.app", "worker", "--hostname", f"w{number}@test"],
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._workers.append(worker)
        self.until(lambda: health(self.producer.database).workers > before, f"worker {number} is up")
        return worker

    def log(self, number: int) -> Path:
        """Log file of the worker that was started as the `number`th."""
        return self.home / f"worker-{number}.log"

    def stop_workers(self) -> None:
        """SIGTERM to each that still runs, and wait."""
        for worker in self._workers:
            if worker.poll() is None:
                worker.terminate()
        for worker in self._workers:
            try:
                worker.wait(30)
            except subprocess.TimeoutExpired:
                os.kill(worker.pid, signal.SIGKILL)
                worker.wait()

    def submit(self, documents: Iterable[str], **wish: Any) -> Receipt:
        """Submit texts; the first is named `doc-0`."""
        taken = (Taken(Source(f"doc-{n}", text), read(text.encode(), f"doc-{n}")) for n, text in enumerate(documents))
        return self.producer.submit_documents(taken, Wish(**wish))

    def finish(self, receipt: Receipt) -> list[Result]:
        """Wait until every job of the submission has ended; its results."""
        self.until(lambda: self._unfinished(receipt) == 0, "every job has ended")
        return list(self.producer.results(receipt.submission_id))

    def states(self, receipt: Receipt) -> dict[JobState, int]:
        """Jobs of the submission by state, without the states that have none."""
        return {state: n for state, n in progress(self.producer.database, receipt.submission_id).items() if n}

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Poll for a condition that the outside shows. Raises `AssertionError` when it does not come."""
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, f"waited {WAIT_S:.0f} s in vain until {what}\n{self._last_log_lines()}"
            time.sleep(0.02)

    def bill(self) -> list[dict[str, Any]]:
        """The simulator's own rows, once no answer is under way."""
        self.until(lambda: self.simulator.bill(totals_only=True)["totals"]["in_flight"] == 0, "the simulator is idle")
        return self.simulator.rows()

    def _unfinished(self, receipt: Receipt) -> int:
        states = progress(self.producer.database, receipt.submission_id)
        return sum(count for state, count in states.items() if state not in ENDED)

    def _last_log_lines(self) -> str:
        logs = [self.log(number) for number in range(1, len(self._workers) + 1)]
        return "\n".join(line for log in logs for line in log.read_text().splitlines()[-15:])
