"""Local processes that look like Docker containers to pytest-celery, so that its cluster tests need no engine.

`LocalContainer` imitates what pytest-docker-tools asks of docker's container object; the two wrappers replace
pytest-celery's, which would look for the addresses that a container network gives.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal as signals
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_celery import CeleryWorkerContainer, RedisContainer
from pytest_docker_tools.exceptions import ContainerFailed

from scripts.stack.valkey import embedded_program, free_port

ROOT = Path(__file__).resolve().parents[3]


class LocalContainer:
    """A process with a container's face: id, status, logs, kill, restart. It has no network of its own."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self.id = secrets.token_hex(6)
        self.name = f"local-{self.id}"
        self.attrs: dict[str, Any] = {
            "Config": {"Hostname": "127.0.0.1", "Env": [f"{name}={value}" for name, value in environment.items()]},
            "HostConfig": {"PortBindings": {}},
            "NetworkSettings": {"Networks": {}, "Ports": {}},
        }
        self._command = [part.replace("%h", self.id) for part in command]
        self._environment = environment
        self._log = folder / f"{self.name}.log"
        self._process = self._start()

    @property
    def status(self) -> str:
        """`running` or `exited`, as docker says it."""
        return "running" if self._process.poll() is None else "exited"

    @property
    def exit_code(self) -> int | None:
        """The process's, negative for a signal; None while it runs."""
        return self._process.poll()

    def reload(self) -> None:
        """Nothing to fetch: `status` is always fresh."""

    def logs(self) -> bytes:
        """What it has printed so far, stdout and stderr together."""
        return self._log.read_bytes()

    def kill(self, signal: str | int | None = None) -> None:
        """Send a signal, by number or name; SIGKILL when none is named."""
        named = signals.Signals[signal] if isinstance(signal, str) else signal
        self._process.send_signal(signals.SIGKILL if named is None else named)

    def restart(self, timeout: float = 10) -> None:
        """Stop it and start it again with an empty log, under the same id."""
        self.stop(timeout)
        self._process = self._start()

    def stop(self, timeout: float = 10) -> None:
        """SIGTERM, then SIGKILL after `timeout` seconds."""
        self._process.terminate()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("wb") as log:
            return subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for pytest, whose fixtures stop us
            )


class _Local:
    """Ready when the process has logged its prompt; looked at often, where pytest-celery would sleep a second."""

    _container: LocalContainer
    ready_prompt: str
    name: str

    def ready(self, timeout_s: float = 30) -> bool:
        deadline = time.monotonic() + timeout_s
        while self.ready_prompt.encode() not in self._container.logs():
            if self._container.status == "exited" or time.monotonic() > deadline:
                raise ContainerFailed(self, f"{self.name} did not get ready:\n{self._container.logs().decode()}")
            time.sleep(0.02)
        return True


class LocalRedis(_Local, RedisContainer):  # type: ignore[misc]  # pytest-celery has no types
    """The embedded Valkey on a free port of loopback, its data gone with the test's folder."""

    @classmethod
    @contextlib.contextmanager
    def running(cls, folder: Path) -> Iterator[LocalRedis]:
        """Start one, wait until it is ready, stop it at the end."""
        port = free_port()
        command = [str(embedded_program()), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)]
        container = LocalContainer([*command, *cls.command()[1:]], dict(os.environ), folder)
        container.attrs["Port"] = port
        with _stopped_at_the_end(container):
            redis = cls(container)
            redis.ready()
            yield redis

    @property
    def port(self) -> int:
        """On loopback."""
        port: int = self.attrs["Port"]
        return port

    @property
    def url(self) -> str:
        """The same for the test and for the workers: they share a network."""
        return str(self.host_url)


class LocalWorker(_Local, CeleryWorkerContainer):  # type: ignore[misc]  # pytest-celery has no types
    """A worker process of this environment's Python."""

    @classmethod
    @contextlib.contextmanager
    def running(cls, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Iterator[LocalWorker]:
        """Start one with `environment` added to ours, wait until it is ready, stop it at the end."""
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        home = {"DOCMILL_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}
        container = LocalContainer([sys.executable, "-m", *command], {**inherited, **environment, **home}, folder)
        with _stopped_at_the_end(container):
            worker = cls(container)
            worker.ready()
            yield worker


@contextlib.contextmanager
def _stopped_at_the_end(container: LocalContainer) -> Iterator[None]:
    try:
        yield
    finally:
        container.stop()
