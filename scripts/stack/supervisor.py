"""Runs services in order: each step is ready before the next begins, and they stop in their own order.

Knows processes only; `scripts.stack.services` says which ones a stack has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from scripts.stack.claim import Claim
from scripts.stack.errors import StackError
from scripts.stack.logfile import LogFile
from scripts.stack.part import Hear, Part, Report
from scripts.stack.service import Service

OURSELVES = "docmill"
"""Name under which what the supervisor does is heard, among the names of the services."""
HOPELESS_EXITS = 5
TEND_S = 1.0


class Supervisor:
    """The processes of `services`, their logs in `logs`, for the holder of `claim`."""

    def __init__(self, services: Sequence[Service], logs: Path, claim: Claim, *, report: Report, hear: Hear) -> None:
        self._claim = claim
        self._hear = hear
        self._parts = [
            Part(service, LogFile(logs / f"{service.name}.log"), claim, report=report, hear=hear)
            for service in services
        ]
        self._keepers: list[asyncio.Task[None]] = []
        self._killed = False

    async def start(self) -> None:
        """Start all, step by step. Raises `StackError` for the first that fails; `stop` ends those that run."""
        self._keepers.append(asyncio.create_task(self._tend()))
        for _, step in groupby(sorted(self._parts, key=_start_step), key=_start_step):
            parts = list(step)
            try:
                async with asyncio.TaskGroup() as group:
                    for part in parts:
                        group.create_task(self._start(part))
            except ExceptionGroup as failures:
                raise failures.exceptions[0] from None
            self._keepers += [asyncio.create_task(part.keep()) for part in parts]

    async def wait(self) -> None:
        """Wait until cancelled."""
        await asyncio.gather(*self._keepers)

    def check(self) -> None:
        """Raise `StackError` when a process exits as often as it is started. Safe to call from another thread."""
        for part in self._parts:
            if part.exits >= HOPELESS_EXITS:
                raise StackError(f"{part.service.name} exited {part.exits} times in a row; its log is {part.log.path}")

    async def stop(self) -> None:
        """Stop all, step by step, each process within its grace. Nothing of them is left afterwards."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for _, step in groupby(sorted(self._parts, key=_stop_step), key=_stop_step):
            await asyncio.gather(*(self._stop(part) for part in step))

    def kill(self) -> None:
        """Make `stop` end everything at once."""
        self._killed = True
        for part in self._parts:
            part.kill()

    def pids(self) -> dict[str, int]:
        """Process id of each service that runs."""
        return {part.service.name: part.pid for part in self._parts if part.pid is not None}

    async def _start(self, part: Part) -> None:
        await part.start()
        self._hear(OURSELVES, f"{part.service.name} is ready")

    async def _stop(self, part: Part) -> None:
        if part.pid is None:
            return
        if self._killed:
            part.kill()
        self._hear(OURSELVES, f"stopping {part.service.name}")
        await part.stop()

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(TEND_S)
            self._claim.tend()


def _start_step(part: Part) -> int:
    return part.service.start_step


def _stop_step(part: Part) -> int:
    return part.service.stop_step
