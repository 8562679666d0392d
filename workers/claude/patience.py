"""How long a call may take: a deadline for the whole, and a longest silence.

The transport's own timers would do, were it not for a process that is stopped and goes on, or a loop that was blocked:
overdue timers run before the sockets are read, and would give up answers that have long arrived and are paid for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

LATE_S = 1.0
"""A timer that comes so late was held up: we did not listen, so it proves no silence."""
TURN_S = 5.0
"""What the sockets then get, to hand over what arrived meanwhile."""


class Patience:
    """Around one call: raises `TimeoutError` in its task when the deadline or the silence is over."""

    def __init__(self, *, deadline_s: float, silence_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._deadline = self._heard_at + deadline_s
        self._silence_s = silence_s
        self._limit = asyncio.timeout(None)
        self._timer = self._check_at(self._ends_at())

    def heard(self) -> None:
        """Something came."""
        self._heard_at = self._loop.time()

    async def listen(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The pieces of a body, each of them heard."""
        async for piece in pieces:
            self.heard()
            yield piece

    def _ends_at(self) -> float:
        return min(self._deadline, self._heard_at + self._silence_s)

    def _check_at(self, when: float) -> asyncio.TimerHandle:
        return self._loop.call_at(when, self._check, when)

    def _check(self, due: float) -> None:
        now = self._loop.time()
        if now - due > LATE_S:
            self._timer = self._check_at(now + TURN_S)
        elif now < self._ends_at():
            self._timer = self._check_at(self._ends_at())
        else:
            self._limit.reschedule(now)

    async def __aenter__(self) -> Self:
        await self._limit.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._limit.__aexit__(kind, error, trace)
