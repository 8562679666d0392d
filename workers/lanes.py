"""The lanes as a worker process sees them: stops them on all workers, tries a stopped key, opens what works again.

Which lanes a fault stops, and for how long, is decided in `tasks.rules`; the pauses lie in Redis, and claims meet them
there. What happened to the last calls is kept here: each process judges a storm by its own.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from tasks.model.fault import Fault, Overloaded, Unauthorized, Unreachable
from tasks.ports import Claude
from tasks.rules.parking import STORM_CALLS, is_storm
from tasks.rules.verdict import BLOCK_PAUSES_S
from workers.limiter import Slots
from workers.transport import Pause, Pauses
from workers.transport.channel import Channel

LOOK_EVERY_S = 1.0
PROBE_AHEAD_S = 5.0
"""So long before a key's pause ends it is tried by a request that costs nothing, rather than by a job."""
BY = "worker"

T = TypeVar("T")
log = structlog.get_logger("docmill.lanes")


class Lanes:
    """Meets `tasks.ports.Lanes`. Enter it in the loop that uses it: from then on it looks at the pauses each second."""

    def __init__(
        self, app: Celery, queues: Sequence[str], claude: Claude, slots: Slots, *, longest_pause_s: float
    ) -> None:
        self._app, self._queues, self._claude, self._slots = app, list(queues), claude, slots
        self._key_pause_s = min(BLOCK_PAUSES_S[Unauthorized], longest_pause_s)
        self._pauses: dict[str, Pause] = {}
        self._last_calls: defaultdict[str, deque[bool]] = defaultdict(lambda: deque(maxlen=STORM_CALLS))

    async def pause(self, queues: Collection[str] | None, seconds: float, fault: Fault) -> Collection[str]:
        """See `tasks.ports.Lanes`. Says so in the log once for each pause."""
        lanes = self._queues if queues is None else list(queues)

        def stop(pauses: Pauses) -> tuple[list[str], dict[str, Pause]]:
            new = pauses.pause(lanes, fault.message, by=BY, seconds=seconds, fault=fault.kind)
            return new, pauses.read(self._queues)

        stopped = await self._ask(stop)
        if stopped is None:
            return ()
        new, self._pauses = stopped
        for lane in new:
            log.warning("lane.parked", lane=lane, fault=fault.kind, error=fault.message, seconds=round(seconds, 1))
        return [lane for lane in lanes if lane in self._pauses]

    async def succeeded(self, queue: str, took_s: float) -> None:
        """See `tasks.ports.Lanes`."""
        pause = self._pauses.get(queue)
        if pause is None or pause.until is None:
            return
        if await self._ask(lambda pauses: pauses.opened(queue, took_s)):
            self._pauses.pop(queue, None)
            log.info("lane.open", lane=queue, fault=pause.fault)

    def saw(self, model: str, fault: Fault | None) -> bool:
        """See `tasks.ports.Lanes`. In a storm this process goes on with half as many calls at once."""
        if fault is not None and fault.put_off:
            return False
        calls = self._last_calls[model]
        calls.append(isinstance(fault, Overloaded | Unreachable))
        if not is_storm(calls):
            return False
        calls.clear()  # the next storm is judged by the calls after this one
        self._slots.halve(model)
        return True

    async def __aenter__(self) -> Self:
        self._looking = asyncio.create_task(self._look_on(), name="lanes")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._looking.cancel()
        with suppress(asyncio.CancelledError):
            await self._looking

    async def _look_on(self) -> None:
        is_first = True
        while True:
            self._slots.recover()
            found = await self._ask(lambda pauses: pauses.read(self._queues))
            if found is not None:
                self._pauses = found
                await self._try_key(PROBE_AHEAD_S if not is_first else float("inf"))  # our key may be a new one
                is_first = False
            await asyncio.sleep(LOOK_EVERY_S)

    async def _try_key(self, ahead_s: float) -> None:
        """Where the key stopped lanes and their pause is about to end: stop them anew, or let a job try."""
        now = datetime.now(UTC)
        due = [
            lane
            for lane, pause in self._pauses.items()
            if pause.fault == Unauthorized.__name__
            and pause.until is not None
            and 0 < (pause.until - now).total_seconds() < ahead_s
        ]
        if not due:
            return
        try:
            await self._claude.probe()
        except Unauthorized as fault:
            await self.pause(due, self._key_pause_s, fault)
        except Fault as fault:
            log.info("key.unknown", error=fault.message)
        else:
            await self._ask(lambda pauses: pauses.resume(due, fault=Unauthorized.__name__))

    async def _ask(self, question: Callable[[Pauses], T]) -> T | None:
        """The answer of Redis, asked in a thread; None when it cannot be had."""
        try:
            return await asyncio.to_thread(self._answer, question)
        except (OperationalError, RedisError, OSError) as error:
            log.warning("lanes.unknown", error=f"{type(error).__name__}: the broker does not answer")
            return None

    def _answer(self, question: Callable[[Pauses], T]) -> T:
        pool: Any = self._app.pool  # Celery's stubs take it for a pool of producers
        with pool.acquire(block=True) as connection:
            channel: Channel = connection.default_channel
            return question(Pauses(channel.store.client, channel.keys))
