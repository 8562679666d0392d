"""Alerts from the outbox to a real endpoint, on both databases: tried again, never lost, none held up by another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import cast

import pytest

from tasks.alerting import send_due
from tasks.model.alert import Alert
from tasks.ports import World
from tasks.rules.delivering import GIVE_UP_S
from tests.workers.alerts.far_side import Endpoint, http_endpoint
from workers.alerts import Channel, Channels, LogChannel, Webhook
from workers.ledger import Books, Database, DeliveryLine, read_alerts

ALERT = Alert("day.unusual/2026-11-22", "day.unusual", "three times the usual", "Next: docmill costs")


class Clock:
    """The test's own time."""

    def __init__(self, now: datetime) -> None:
        self.at = now

    def __call__(self) -> datetime:
        return self.at

    def pass_time(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass(frozen=True)
class Here:
    """As much of a World as delivering takes."""

    outbox: Books
    channels: Channels
    now: Clock

    async def turn(self) -> None:
        """As the task does."""
        await send_due(cast("World", self))


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with http_endpoint() as opened:
        yield opened


def here(database: Database, *channels: Channel, timeout_s: float = 5) -> Here:
    clock = Clock(database.now())
    return Here(Books(database, now=clock), Channels(channels, timeout_s=timeout_s), clock)


def ways(database: Database) -> dict[str, DeliveryLine]:
    (line,) = read_alerts(database, 10)
    return {way.channel: way for way in line.deliveries}


async def test_what_fails_first_is_told_later_and_once(database: Database, endpoint: Endpoint) -> None:
    mill = here(database, LogChannel(), Webhook(endpoint.url, "s"))
    endpoint.statuses = [500, 503]
    await mill.outbox.tell([ALERT], mill.channels.names)
    for tries in (1, 2, 3):
        await mill.turn()
        await mill.turn()  # not before its time
        assert len(endpoint.requests) == tries
        mill.now.pass_time(60)
    way = ways(database)["webhook"]
    assert (way.tries, way.error) == (3, None)
    assert way.sent_at is not None
    assert ways(database)["log"].tries == 1
    assert len({headers["Docmill-Alert"] for headers, _ in endpoint.requests}) == 1


async def test_a_channel_that_is_dead_for_a_day_is_given_up_and_the_alert_stays_in_the_list(
    database: Database, endpoint: Endpoint
) -> None:
    mill = here(database, Webhook(endpoint.url, "s"))
    endpoint.statuses = [500] * 100
    await mill.outbox.tell([ALERT], mill.channels.names)
    for _ in range(int(GIVE_UP_S / 3_600) + 2):
        await mill.turn()
        mill.now.pass_time(3_601)
    way = ways(database)["webhook"]
    assert (way.next_at, way.sent_at, way.error) == (None, None, "HTTP 500")
    assert len(endpoint.requests) == way.tries == 25


async def test_a_channel_that_hangs_holds_up_no_other(database: Database, endpoint: Endpoint) -> None:
    mill = here(database, LogChannel(), Webhook(endpoint.url, "s", timeout_s=30), timeout_s=0.3)
    endpoint.statuses = [None]
    await mill.outbox.tell([replace(ALERT, key=str(number)) for number in range(3)], mill.channels.names)
    await mill.turn()
    lines = read_alerts(database, 10)
    sent = [way.channel for line in lines for way in line.deliveries if way.sent_at is not None]
    assert sent == ["log"] * 3
    errors = [way.error for line in lines for way in line.deliveries if way.error is not None]
    assert errors == ["no answer within 0.3 s"], "the others of that channel wait for a later turn"


async def test_a_worker_that_dies_while_it_sends_leaves_the_alert_to_the_next(
    database: Database, endpoint: Endpoint
) -> None:
    mill = here(database, Webhook(endpoint.url, "s"))
    await mill.outbox.tell([ALERT], mill.channels.names)
    (taken,) = await mill.outbox.due(1)
    assert await mill.outbox.take(taken, 60)  # and dies
    await mill.turn()
    assert endpoint.requests == []
    mill.now.pass_time(61)
    await mill.turn()
    assert len(endpoint.requests) == 1
