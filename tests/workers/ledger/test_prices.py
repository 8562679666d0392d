"""A cost is booked once, and follows from its row and its price's."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from config.prices import Price
from tasks.model.call import Call, CallState, Kept, Usage
from tasks.model.fault import TimedOut, Truncated
from tasks.model.job import Job
from tasks.model.verdict import Done, RetryIn
from tasks.rules.pricing import priced
from tests.values import an_answer
from tests.workers.ledger.samples import PRICE, ROUTE, answered, call_of, submit
from workers.ledger import CostBy, Database, GroupedLedger, Upkeep, costs, story
from workers.ledger.prices import recompute
from workers.ledger.tables import calls, prices

LONG = PRICE.model_copy(
    update={"version": "2", "long_prompt_tokens": 100_000, "long_prompt_factor": Decimal(5), "input": Decimal("0.1")}
)


def bought(call: Call, usage: Usage, price: Price, *, us_only: bool = False) -> Call:
    told = priced(usage, price, us_only=us_only)
    return replace(
        answered(call), usage=usage, price=price, cost_nanousd=told.cost_nanousd, multipliers=told.multipliers
    )


async def begun(ledger: GroupedLedger, job_id: str, generation: int = 0) -> tuple[Job, Call]:
    job = await ledger.claim(job_id, generation)
    assert job is not None
    call, shell = call_of(job)
    await ledger.sending(job, call, ROUTE, shell)
    return job, call


def kept_prices(database: Database) -> int:
    return database.read(lambda connection: connection.execute(select(func.count()).select_from(prices)).scalar_one())


async def test_each_price_is_kept_once_and_tells_how_a_call_was_priced(database: Database, url: str) -> None:
    _, added = submit(database, ["a", "b", "c"])
    long = Usage(input=1, cache_read=100_000, output=3)
    async with await GroupedLedger.open(url, owner_timeout_s=60) as ledger:
        for one, usage, price in zip(added, [Usage(input=7), Usage(output=5), long], [PRICE, PRICE, LONG], strict=True):
            job, call = await begun(ledger, one.job_id)
            assert await ledger.settle(job, bought(call, usage, price, us_only=usage is long), Done("out"))
    async with await GroupedLedger.open(url, owner_timeout_s=60) as ledger:  # another process, which knows of none
        _, (again,) = submit(database, ["d"])
        job, call = await begun(ledger, again.job_id)
        assert await ledger.settle(job, bought(call, Usage(input=9), PRICE), Done("out"))
    assert kept_prices(database) == 2
    told = story(database, added[2].job_id)
    assert told is not None
    (line,) = told.calls
    assert line.price == LONG
    assert line.multipliers == {"long_prompt": "5", "us_only": "1.1"}
    assert line.cost_nanousd == round((100 + 100_000 * 100 + 3 * 5_000) * 5.5)
    assert (line.price_source, line.price_version) == ("genai-prices", "2")
    assert list(recompute(database)) == []


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"cost_nanousd": calls.c.cost_nanousd + 1}, "another sum"),
        ({"cache_read_tokens": calls.c.cache_read_tokens + 1}, "another sum"),
        ({"multipliers": {"us_only": "1.2"}}, "other multipliers"),
        ({"price_hash": "0" * 64}, "not in the ledger"),
        ({"price_hash": None, "price_source": None}, "a cost without a price"),
        ({"state": "unknown"}, "another cost"),
        ({"model": "claude-sonnet-4-6"}, "not what it was"),
    ],
)
async def test_a_cost_that_does_not_follow_is_named(
    database: Database, url: str, changed: dict[str, Any], why: str
) -> None:
    _, (one,) = submit(database, ["a"])
    async with await GroupedLedger.open(url, owner_timeout_s=60) as ledger:
        job, call = await begun(ledger, one.job_id)
        await ledger.settle(job, bought(call, Usage(input=7, cache_read=1), PRICE), Done("out"))
    assert list(recompute(database)) == []
    with database.engine.begin() as connection:
        connection.execute(update(calls).values(**changed))
    (wrong,) = recompute(database)
    assert why in wrong.why
    assert wrong.call_id == call.id


async def test_a_call_without_a_price_costs_an_unknown_amount(database: Database, url: str) -> None:
    _, (one,) = submit(database, ["a"])
    async with await GroupedLedger.open(url, owner_timeout_s=60) as ledger:
        job, call = await begun(ledger, one.job_id)
        await ledger.settle(job, answered(call, cost_nanousd=None), Done("out"))
    (line,) = costs(database, CostBy.MODEL)
    assert (line.spent.unpriced_calls, line.spent.unknown_calls, line.spent.cost_nanousd) == (1, 1, 0)
    assert kept_prices(database) == 0
    assert list(recompute(database)) == []


RECORDS = st.lists(st.sampled_from(["lost", "answered", "handed back", "repeated"]), min_size=1, max_size=5)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=RECORDS, seed=st.integers(0, 1_000_000))
async def test_a_call_is_booked_once_however_often_it_is_recorded(
    database: Database, url: str, records: list[str], seed: int
) -> None:
    _, (one,) = submit(database, ["a"], salt=str(seed) + "".join(records))
    before = {line.group: line.spent for line in costs(database, CostBy.MODEL)}.get(ROUTE.model)
    usage = Usage(input=random.Random(seed).randint(0, 1_000), output=4)
    async with await GroupedLedger.open(url, owner_timeout_s=60) as ledger:
        job = await ledger.claim(one.job_id, one.generation)
        if job is None:  # hypothesis has tried this one before
            return
        call, shell = call_of(job)
        await ledger.sending(job, call, ROUTE, shell)
        good, lost = bought(call, usage, PRICE), replace(call, state=CallState.UNKNOWN, fault="TimedOut")
        for record in records:
            match record:
                case "lost":
                    await ledger.settle(job, lost, RetryIn(1, TimedOut("silence"), counts=True))
                case "handed back":
                    await ledger.hand_back(job, lost)
                case "answered":
                    await ledger.settle(job, good, Done("out"))
                case _:
                    await ledger.settle(
                        job, replace(good, fault="Truncated"), RetryIn(1, Truncated("cut"), counts=True)
                    )
    (line,) = costs(database, CostBy.MODEL)
    known = any(record in {"answered", "repeated"} for record in records)
    assert line.spent.calls == (before.calls if before else 0) + 1
    assert line.spent.cost_nanousd - (before.cost_nanousd if before else 0) == (1_000 * usage.input + 20_000) * known
    assert line.spent.unknown_calls - (before.unknown_calls if before else 0) == (not known)
    assert list(recompute(database)) == []


async def test_an_answer_settled_late_has_the_price_of_when_it_was_sent(database: Database, url: str) -> None:
    _, (one,) = submit(database, ["a"])
    async with await GroupedLedger.open(url, owner_timeout_s=60) as ledger:
        job, call = await begun(ledger, one.job_id)
        long_ago = datetime.now(UTC) - timedelta(days=90)
        database.write(partial(_sent_at, call_id=call.id, at=long_ago))
        upkeep = Upkeep(ledger, owner_timeout_s=60, job_deadline_s=60, suspect="suspect")
        ((kept, _),) = await upkeep.unsettled([Kept(job.token, call, an_answer())])
    assert kept.call.sent_at == long_ago


def _sent_at(connection: Any, call_id: str, at: datetime) -> None:
    connection.execute(update(calls).where(calls.c.id == call_id).values(sent_at=at))
