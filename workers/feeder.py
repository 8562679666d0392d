"""Feeds the broker from the lanes' lines in the ledger: seconds of work at a time, one worker process for all.

Every worker process has a feeder, and asks four times a second whether there is something to feed and nobody else who
does it: one round trip to Redis, and nothing of the ledger. How much is fed of what is decided in
`tasks.rules.feeding`. A job is published before that is noted: a feeder that dies in between, or two that feed at
once, send a message too many, whose claim is lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any, Self
from zoneinfo import ZoneInfo

import structlog
from celery import Celery

from tasks.model.job import Message
from tasks.rules.days import day_of
from tasks.rules.feeding import HEAD, next_depth, next_rate, portions, to_feed
from workers.broker import message_id, publish
from workers.ledger import Barred, Database, Published, barred, in_line, living, mark_published, next_in_s
from workers.transport import Bell, Depth, LaneLimits, Pauses, channel_of, depths

UTC = ZoneInfo("UTC")
PERIOD_S = 0.25
REST_S = 2.0
"""After an error: what is published already lasts about so long."""
CHUNK = 500
"""Jobs published and noted at a time: what is sent once more where one dies in between."""
COUNT_WORKERS_EVERY_S = 5.0
LAST_FEED_S = 5.0
"""What is being fed when the process stops is waited for so long; another one goes on."""

log = structlog.get_logger("docmill.feeder")


@dataclass(slots=True)
class Flow:
    """What a lane was seen doing."""

    seen_at: float
    messages: int
    """It had when it was last seen, and was fed since."""
    rate: float = 0.0
    """Jobs that end a second."""
    credit: Mapping[int, int] = field(default_factory=dict)
    """See `portions`."""


class Feeder:
    """Enter it in the loop of a worker process: from then on it feeds.

    Args:
        app: Whose broker.
        database: The ledger's.
        slots: Jobs that one worker process runs at once, by lane.
        owner_timeout_s: A worker not seen for so long has no slots.
        zone: Says which day it is for budgets.
    """

    def __init__(
        self,
        app: Celery,
        database: Database,
        slots: Mapping[str, int],
        *,
        owner_timeout_s: float,
        zone: ZoneInfo = UTC,
    ) -> None:
        self._app, self._database, self._slots = app, database, slots
        self._owner_timeout_s, self._zone = owner_timeout_s, zone
        self._name = token_hex(8)
        self._flows: dict[str, Flow] = {}
        self._workers, self._counted_at = 1, float("-inf")

    async def __aenter__(self) -> Self:
        self._closing = asyncio.Event()
        self._feeding = asyncio.create_task(self._feed_on(), name="feeder")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        await asyncio.wait([self._feeding], timeout=LAST_FEED_S)

    async def _feed_on(self) -> None:
        work = self.begin
        while not self._closing.is_set():
            try:
                await asyncio.to_thread(work)
                work, pause_s = self.feed, PERIOD_S
            except Exception as error:  # noqa: BLE001 - whatever it is, who would feed after this one?
                log.warning("feeder.held_up", error=f"{type(error).__name__}: jobs wait in the ledger")
                pause_s = REST_S
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), pause_s)

    def begin(self) -> int:
        """Look into every line once, and feed: who was to be told of one may have been away."""
        with channel_of(self._app) as channel:
            Bell(channel.store.client, channel.keys).ring(self._slots)
        return self.feed()

    def feed(self) -> int:
        """Feed every lane that has room and something waiting, if it is this process's to do so; messages sent."""
        with channel_of(self._app) as channel:
            client, keys = channel.store.client, channel.keys
            bell = Bell(client, keys)
            due = [lane for lane in bell.due(self._name) if lane in self._slots]
            if not due:
                self._flows.clear()
                return 0
            found, paused = depths(client, due, keys), Pauses(client, keys).read(due)
        self._count_workers()
        without = barred(self._database, day_of(self._database.now(), self._zone))
        return sum(self._feed_lane(lane, found[lane], without, is_paused=lane in paused) for lane in due)

    def _feed_lane(self, lane: str, depth: Depth, without: Barred, *, is_paused: bool) -> int:
        flow = self._observe(lane, depth)
        free = 0 if is_paused else self._slots_of_all(lane) - depth.unacked
        room = to_feed(next_depth(flow.rate, free), sum(depth.ready.values()), depth.delayed)
        if room == 0:
            return 0
        began = time.monotonic()
        waiting = in_line(self._database, lane, room, without)
        fed, flow.credit = portions(room, {step: len(jobs) for step, jobs in waiting.items()}, flow.credit)
        messages = [message for step, count in fed.items() for message in waiting[step][:count]]
        for start in range(0, len(messages), CHUNK):
            send(self._app, self._database, messages[start : start + CHUNK])
        flow.messages += len(messages)
        took_ms = int(1000 * (time.monotonic() - began))
        log.debug("lane.fed", lane=lane, room=room, fed=len(messages), ended_per_s=round(flow.rate), ms=took_ms)
        if len(messages) < room:
            self._rest(lane, without)
        return len(messages)

    def _rest(self, lane: str, without: Barred) -> None:
        """Do not ask the ledger about this lane before there is something: all of its line was fed that may be."""
        with channel_of(self._app) as channel:
            bell = Bell(channel.store.client, channel.keys)
            bell.quiet(lane, next_in_s(self._database, lane, without))
            if next_in_s(self._database, lane, without) == 0:  # rung since we looked: do not silence that
                bell.ring([lane])

    def _observe(self, lane: str, depth: Depth) -> Flow:
        """The lane's flow as of now: messages that are gone belonged to jobs that have ended."""
        now, messages = time.monotonic(), sum(depth.ready.values()) + depth.unacked + depth.delayed
        flow = self._flows.setdefault(lane, Flow(now, messages))
        flow.rate = next_rate(flow.rate, flow.messages - messages, now - flow.seen_at)
        flow.seen_at, flow.messages = now, messages
        return flow

    def _slots_of_all(self, lane: str) -> int:
        """Slots of all workers, as if each limited this lane as we do at the moment."""
        limits: Any = self._app.conf.broker_transport_options.get("lane_limits")
        slots = self._slots[lane]
        own = limits.room(lane, held=0, credit=slots) if isinstance(limits, LaneLimits) else slots
        return self._workers * int(own)

    def _count_workers(self) -> None:
        if time.monotonic() - self._counted_at >= COUNT_WORKERS_EVERY_S:
            self._workers = max(1, living(self._database, self._owner_timeout_s))
            self._counted_at = time.monotonic()


def publish_first(app: Celery, database: Database, waiting: Mapping[str, Sequence[Message]]) -> None:
    """Publish new jobs, by lane, where nothing waits before them, a few at most; and leave the rest to a feeder.

    Raises what Celery's client raises, and `BrokerRefused`: then they wait until a sweeper reminds the feeders.
    """
    with channel_of(app) as channel:
        client, keys = channel.store.client, channel.keys
        bell = Bell(client, keys)
        found, behind = depths(client, list(waiting), keys), bell.rung()
        room = {
            lane: 0 if lane in behind else max(0, HEAD - sum(depth.ready.values())) for lane, depth in found.items()
        }
        send(app, database, [message for lane, messages in waiting.items() for message in messages[: room[lane]]])
        bell.ring([lane for lane, messages in waiting.items() if len(messages) > room[lane]])


def send(app: Celery, database: Database, messages: Sequence[Message]) -> None:
    """Publish jobs, and note it."""
    if messages:
        publish(app, messages)
        mark_published(database, [Published(each.job_id, each.generation, message_id(each)) for each in messages])
