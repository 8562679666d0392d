"""The day's total: counted while the day goes on, closed when it has ended, corrected when a call is known better.

Then a look at what a person should be told of. Rules decide, `World` carries out; everything may run twice: a count is
written only over an older one, and an alert is told once by its key. Sending them is `tasks.alerting`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from datetime import date

import structlog
from celery import shared_task

from tasks.model.day import Count, Entered
from tasks.ports import LedgerUnavailable, World, world
from tasks.rules.alerting import AlertBounds, Seen, alerts_for
from tasks.rules.closing import is_final
from tasks.rules.days import day_of
from tasks.rules.pricing import dollars

USUAL_DAYS = 14
"""Closed days that say what a usual one costs."""

_turn = asyncio.Lock()
"""However long a day takes to count, sweeps have their slots in the lane."""
log = structlog.get_logger("docmill.spending")


@shared_task(name="docmill.total", ignore_result=True)
async def total() -> str:
    """One turn: whoever comes second in the same interval has nothing to do. A process has one turn at a time."""
    if _turn.locked():
        return "busy"
    async with _turn:
        return await take_turn(world())


async def take_turn(here: World) -> str:
    """Count the days that are due, and tell what is to be told; nothing where the turn is another's."""
    try:
        if not await here.upkeep.take_turn("total", here.settings.total_every_s):
            return "taken"
        counts = {day: await count(day, here) for day in await here.books.due_days()}
        await tell(counts, here)
    except LedgerUnavailable as error:
        log.warning("ledger.unavailable", error=str(error))
        return "unavailable"
    return "totalled"


async def count(day: str, here: World) -> Count:
    """Count a day's calls and write the sum down, for good where it is final."""
    zone = here.settings.time_zone
    counted = await here.books.count(day)
    final = is_final(day, counted.open_calls, counted.counted_at, zone)
    entered = await here.books.enter(counted, zone, is_final=final)
    if entered in {Entered.CLOSED, Entered.CORRECTED}:
        log.info(
            "day.closed",
            day=day,
            corrected=entered is Entered.CORRECTED,
            calls=counted.total.calls,
            cost=dollars(counted.total.cost_nanousd),
            unknown_calls=counted.total.unknown_calls,
            open_calls=counted.open_calls,
        )
    return counted


async def tell(counts: Mapping[str, Count], here: World) -> None:
    """Look at the day and the lanes, and have told what was not told before."""
    seen = await look(counts, here)
    settings = here.settings
    bounds = AlertBounds(
        soft_percent=settings.soft_percent,
        unusual_factor=settings.alert_unusual_factor,
        dead_letters=settings.alert_dead_letters,
        queue_age_s=settings.alert_queue_age_s,
        digest=settings.alert_digest,
    )
    await here.outbox.tell(alerts_for(seen, bounds), here.channels.names)


async def look(counts: Mapping[str, Count], here: World) -> Seen:
    """What there is to see now, the days just counted among it. A day without a call is not counted."""
    now = here.now()
    today = day_of(now, here.settings.time_zone)
    earlier = sorted(day for day in counts if day < today)
    budgets = [await here.books.budgets(day) for day in (*earlier[-USUAL_DAYS:], today)]
    count_today = counts.get(today) or Count(today, now)
    return Seen(
        now=now,
        today=count_today,
        earlier=[counts[day] for day in earlier],
        budgets=[budget for one_day in budgets for budget in one_day],
        closed=await here.books.closed_days(USUAL_DAYS),
        stopped=await here.broker.pauses(here.catalogue.queues),
        trouble=await here.books.trouble(),
        retirements=await retirements({*here.catalogue.routes.values(), *count_today.by.get("model", {})}, here),
    )


async def retirements(models: Collection[str], here: World) -> Mapping[str, date]:
    """The day of retirement of each model that has one: by Claude's word, or else the catalogue's."""
    told = await asyncio.gather(*(here.claude.retires_on(model) for model in models))
    known = here.catalogue.models
    days = {
        model: on or (known[model].retires_on if model in known else None)
        for model, on in zip(models, told, strict=True)
    }
    return {model: on for model, on in days.items() if on is not None}
