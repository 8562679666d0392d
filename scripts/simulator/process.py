"""The simulator as a process of its own, for system tests and benches: started, asked and stopped with blocking calls.

Leaves the SDK's side to the caller, who needs only `url`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import selectors
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from scripts.simulator.behaviour import Behaviour

READY = "docmill simulator ready: "  # and its URL: the line it prints when it listens
ROOT = Path(__file__).parents[2]


class SimulatorProcess:
    """One simulator on a free port (or `port`), from `start` to `stop`, or in a `with`. Keywords: see `Behaviour`."""

    def __init__(self, *, port: int = 0, **settings: Any) -> None:
        self._behaviour = Behaviour(**settings)
        self._settings = {name: value for name, value in settings.items() if name != "seed"}
        self._port = port
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    @property
    def pid(self) -> int:
        """Process id of a simulator that was started."""
        assert self._process is not None, "start() first"  # noqa: S101 - a mistake of the caller's
        return self._process.pid

    def start(self, *, wait_s: float = 30) -> None:
        """Start and return once it listens. Raises `RuntimeError` if it does not in time."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scripts.simulator", "--port", str(self._port), "--seed", str(self._behaviour.seed)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=_environment(),
            cwd=ROOT,  # elsewhere `-m` could find another package of the name
        )
        try:
            self.url = self._ready_url(wait_s)
            if self._settings:
                self.configure(**self._settings)
        except BaseException:
            self.kill()
            raise

    def stop(self, how: signal.Signals = signal.SIGTERM, *, wait_s: float = 10) -> int | None:
        """Ask it to end, SIGKILL after `wait_s`; returns the exit code, None if it was not running."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.send_signal(how)
        try:
            process.wait(wait_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
        return process.returncode

    def kill(self) -> None:
        """SIGKILL."""
        self.stop(signal.SIGKILL)

    def configure(self, **settings: Any) -> dict[str, Any]:
        """Change anything but the seed. Raises `ValueError` for a bad one."""
        return self._ask("POST", "/_sim/config", settings)

    def reset(self) -> None:
        """Empty bill, buckets, prompt cache and fault counts; the settings stay."""
        self._ask("POST", "/_sim/reset")

    def bill(self, *, totals_only: bool = False) -> dict[str, Any]:
        """`totals`, and unless `totals_only` also `requests`."""
        return self._ask("GET", "/_sim/bill?totals=1" if totals_only else "/_sim/bill")

    def rows(self) -> list[dict[str, Any]]:
        """One dict per request, in order of arrival."""
        return [json.loads(line) for line in self._read("GET", "/_sim/bill.jsonl").splitlines()]

    def cpu_s(self) -> float:
        """CPU time the simulator has used so far."""
        return float(self._ask("GET", "/_sim/health")["cpu_s"])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _ready_url(self, wait_s: float) -> str:
        assert self._process is not None  # noqa: S101 - start() has just made it
        assert self._process.stdout is not None  # noqa: S101 - it was started with a pipe
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            line = self._process.stdout.readline() if selector.select(wait_s) else ""
        if not line.startswith(READY):
            raise RuntimeError(f"the simulator did not come up within {wait_s} s: {line.strip() or 'it said nothing'}")
        return line.removeprefix(READY).split()[0]

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._read(method, path, body))
        return answer

    def _read(self, method: str, path: str, body: object = None) -> str:
        with contextlib.closing(http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)) as connection:
            connection.request(method, path, body=None if body is None else json.dumps(body))
            response = connection.getresponse()
            text = response.read().decode()
        if response.status != http.HTTPStatus.OK:
            raise ValueError(f"simulator: {method} {path}: {text}")
        return text


def _environment() -> dict[str, str]:
    # Without its bytecode cache the SDK takes seconds longer to load.
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
