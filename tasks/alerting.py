"""Alerts on their way to people: at least once through each channel, and never in the way of anything else.

A delivery is taken in the ledger before it is tried, so that two workers do not send it both, and comes back by itself
where its worker dies. What to tell is decided in `tasks.rules.alerting`, when to try again in `tasks.rules.delivering`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence

import structlog
from celery import shared_task

from tasks.model.alert import Delivery, Undelivered
from tasks.ports import LedgerUnavailable, World, world
from tasks.rules.delivering import next_try

AT_ONCE = 20
"""Deliveries of one channel looked at in one turn."""
TURN_S = 20.0
"""A channel begins no other delivery after so long: the next turn does."""
TAKEN_FOR_S = 60.0
"""Longer than a delivery can take: after that its worker has died."""

_turn = asyncio.Lock()
"""However many channels hang, sweeps have their slots in the lane."""
log = structlog.get_logger("docmill.alerting")


@shared_task(name="docmill.alert", ignore_result=True)
async def alert() -> str:
    """One turn: what is due, through all channels beside each other. A process has one turn at a time."""
    if _turn.locked():
        return "busy"
    async with _turn:
        return await send_due(world())


async def send_due(here: World) -> str:
    """Try what is due; one channel waits for no other."""
    try:
        due = await here.outbox.due(AT_ONCE)
    except LedgerUnavailable as error:
        log.warning("ledger.unavailable", error=str(error))
        return "unavailable"
    channels: defaultdict[str, list[Delivery]] = defaultdict(list)
    for delivery in due:
        channels[delivery.channel].append(delivery)
    await asyncio.gather(*(send_all(deliveries, here) for deliveries in channels.values()))
    return "sent"


async def send_all(deliveries: Sequence[Delivery], here: World) -> None:
    """One channel's deliveries, one after the other, until it does not take one: the others can wait for their turn."""
    ends = asyncio.get_running_loop().time() + TURN_S
    try:
        for delivery in deliveries:
            if asyncio.get_running_loop().time() > ends:
                return
            if await here.outbox.take(delivery, TAKEN_FOR_S) and not await send(delivery, here):
                return
    except LedgerUnavailable as error:  # a delivery that was sent, and could not be noted, is sent once more
        log.warning("ledger.unavailable", error=str(error))


async def send(delivery: Delivery, here: World) -> bool:
    """Try a delivery that is ours; whether the channel took it."""
    try:
        await here.channels.send(delivery)
    except Undelivered as error:
        tries = delivery.tries + 1
        again = next_try(tries, delivery.created_at, here.now())
        await here.outbox.failed(delivery, str(error), again)
        log.warning(
            "alert.undelivered",
            alert=delivery.alert_id,
            channel=delivery.channel,
            error=str(error),
            tries=tries,
            given_up=again is None,
        )
        return False
    await here.outbox.sent(delivery)
    return True
