"""One running service: started until it is ready, started again when it exits unasked, stopped when asked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from scripts.stack.claim import Claim
from scripts.stack.errors import StackError
from scripts.stack.logfile import LogFile
from scripts.stack.service import Look, Service

ROOT = Path(__file__).resolve().parent.parent.parent
"""Where our processes run: Celery puts the current folder first on its path, and another `config` may be in it."""

LOOK_S = 0.05
READY_WITHIN_S = 90
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
STEADY_S = 60
"""A process that stays up so long has recovered: the next wait is the first one again."""

Report = Callable[[str], None]
"""Takes one line about the stack for a person."""
Hear = Callable[[str, str], None]
"""Takes the name of a service and a line it printed."""


class Part:
    """One service of a stack that holds `claim`."""

    def __init__(self, service: Service, log: LogFile, claim: Claim, *, report: Report, hear: Hear) -> None:
        self.service = service
        self.log = log
        self.exits = 0
        """Times it exited unasked without staying up for `STEADY_S` in between."""
        self._claim = claim
        self._report = report
        self._hear = hear
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0

    @property
    def pid(self) -> int | None:
        """Process id, None while it does not run."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start it and return once it is ready. Raises `StackError` if that does not come about."""
        try:
            self._spawn(await asyncio.to_thread(self.service.command))
        except OSError as error:
            raise StackError(f"{self.service.name} cannot be started: {error}") from None
        deadline = time.monotonic() + READY_WITHIN_S
        while not await self.service.ready(Look(self._started_at, self._follow())):
            if self._code() is not None:
                raise StackError(self._failure(f"{_told(self._end())} before it was ready"))
            if time.monotonic() > deadline:
                self._end()
                raise StackError(self._failure(f"was not ready within {READY_WITHIN_S} s"))
            await asyncio.sleep(LOOK_S / 2)

    async def keep(self) -> None:
        """Start it again whenever it exits. Never returns: cancel it before `stop`."""
        while True:
            await self._until_exit()
            wait_s = min(FIRST_WAIT_S * 2 ** min(self.exits, 30), LONGEST_WAIT_S)
            self.exits += 1
            ended = f"{self.service.name} {_told(self._end())}"
            self._report(f"{ended}; starting it again in {wait_s:.0f} s; its log is {self.log.path}")
            await asyncio.sleep(wait_s)
            try:
                await self.start()
            except StackError as error:
                self._report(str(error).partition("\n")[0])
            else:
                self._report(f"{self.service.name} is ready again")

    async def stop(self) -> None:
        """SIGTERM to the process, which passes it on as it sees fit; SIGKILL to its group after its grace."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        deadline = time.monotonic() + self.service.grace_s
        while self._code() is None and time.monotonic() < deadline:
            self._follow()
            await asyncio.sleep(LOOK_S)
        if self._code() is None:
            self._report(f"{self.service.name} did not end within {self.service.grace_s:g} s: killed")
        self._end()

    def kill(self) -> None:
        """SIGKILL to the process and its group."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _spawn(self, command: Sequence[str]) -> None:
        self._started_at = time.time()
        with self.log.open() as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(self.service.environment),
                cwd=ROOT,
                start_new_session=True,  # a Ctrl-C in the terminal is for the supervisor to pass on, in order
            )
        self._claim.watch(self._process.pid, stop_step=self.service.stop_step, grace_s=self.service.grace_s)

    async def _until_exit(self) -> None:
        steady_at = time.monotonic() + STEADY_S
        while self._process is not None and self._code() is None:
            self._follow()
            if time.monotonic() > steady_at:
                self.exits = 0
            await asyncio.sleep(LOOK_S)

    def _end(self) -> int | None:
        """Make sure that nothing of the process is left. Returns its exit code, None if it did not run."""
        if self._process is None:
            return None
        self.kill()
        code = self._process.wait()
        self._claim.forget(self._process.pid)
        self._process = None
        self._follow()
        return code

    def _code(self) -> int | None:
        return self._process.poll() if self._process else None

    def _follow(self) -> list[str]:
        lines = self.log.new_lines()
        for line in lines:
            self._hear(self.service.name, line)
        return lines

    def _failure(self, what: str) -> str:
        first = f"{self.service.name} {what}; its log is {self.log.path}"
        return "\n    ".join([first, *self.log.tail()])


def _told(code: int | None) -> str:
    if code is None:
        return "is not running"
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"exited with status {code}"
