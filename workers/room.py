"""Stops the lanes of this process alone while its answers could not be kept: other machines go on.

`spool` knows whether there is room, `transport.lanes` keeps a stopped lane from being claimed here. The jobs that met
the full disk are back in their lanes, so nothing waits here but the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

import structlog

from tasks.model.fault import Fault, Unkeepable
from workers.transport import LaneLimits

LOOK_EVERY_S = 3.0

log = structlog.get_logger("docmill.room")


class Room:
    """Meets `tasks.ports.Room`. Used on one loop."""

    def __init__(self, limits: LaneLimits, queues: Collection[str], check: Callable[[], None]) -> None:
        """`check` raises `Unkeepable` while an answer could not be kept; `limits` are those of our claims."""
        self._limits, self._queues, self._check = limits, tuple(queues), check
        self._looking: asyncio.Task[None] | None = None

    def stop(self, fault: Fault) -> None:
        """See `tasks.ports.Room`. Says so in the log once, and once when it is over."""
        if self._looking is not None:
            return
        for queue in self._queues:
            self._limits.pause(queue)
        log.error("process.stopped", fault=fault.kind, error=fault.message)
        self._looking = asyncio.create_task(self._go_on_when_possible(), name="room")

    def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()

    async def _go_on_when_possible(self) -> None:
        while not self._has_room():  # noqa: ASYNC110 - a disk tells nobody when it has room again
            await asyncio.sleep(LOOK_EVERY_S)
        for queue in self._queues:
            self._limits.resume(queue)
        self._looking = None
        log.info("process.goes_on")

    def _has_room(self) -> bool:
        try:
            self._check()
        except Unkeepable:
            return False
        return True
