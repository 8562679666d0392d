"""Money adds up, however it is looked at: on both databases, over any days."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert

from tasks.model.call import CallState, Usage
from tasks.rules.days import day_after, day_of
from tasks.rules.pricing import priced
from tests.workers.ledger.samples import PRICE, submit
from workers.ledger import CostBy, Database, costs, new_id
from workers.ledger.billing import booked
from workers.ledger.comparing import bought
from workers.ledger.prices import keep
from workers.ledger.spending import total
from workers.ledger.tables import calls, jobs, prompts

ZONES = [ZoneInfo(name) for name in ("UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia")]
TURNS = [
    datetime(2026, 3, 29, 1, tzinfo=UTC),  # Berlin's day of 23 hours
    datetime(2026, 10, 25, 1, tzinfo=UTC),  # and of 25
    datetime(2026, 4, 4, 15, tzinfo=UTC),  # Lord Howe turns by half an hour
    datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC),
]
moments = st.builds(
    lambda turn, seconds: turn + timedelta(seconds=seconds), st.sampled_from(TURNS), st.integers(-130_000, 130_000)
)
tokens = st.integers(0, 300_000)
usages = st.builds(Usage, tokens, tokens, tokens, tokens, tokens)
FAULTS: dict[CallState, list[str | None]] = {
    CallState.SENT: [None],
    CallState.ANSWERED: [None, "Refused", "Truncated", "BadOutput"],
    CallState.FAILED: ["RateLimited", "Overloaded"],
    CallState.UNKNOWN: ["TimedOut", "WorkerLost"],
}


@st.composite
def ends(draw: st.DrawFn) -> dict[str, Any]:
    """What is known of a call, as `tasks.document` writes it."""
    state = draw(st.sampled_from(list(CallState)))
    row: dict[str, Any] = {"state": state.value, "fault": draw(st.sampled_from(FAULTS[state])), "cost_nanousd": None}
    if state is CallState.ANSWERED:
        usage = draw(usages)
        row |= {f"{kind}_tokens": getattr(usage, kind) for kind in Usage.__slots__}
        if draw(st.booleans()):
            us_only = draw(st.booleans())
            told = priced(usage, PRICE, us_only=us_only)
            row |= {"cost_nanousd": told.cost_nanousd, "price_hash": PRICE.hash, "multipliers": told.multipliers}
    if state is CallState.FAILED:
        row["cost_nanousd"] = 0
    return row


@pytest.fixture
def job_ids(database: Database) -> list[str]:
    """Jobs of three submissions, recipes and complexities that the calls of all examples belong to."""
    found = [one.job_id for name in "abc" for one in submit(database, [name], salt=name)[1]]
    with database.engine.begin() as connection:
        for number, job_id in enumerate(found):
            changed = {"recipe": f"recipe-{number % 2}", "complexity": ("low", "high")[number % 2]}
            connection.execute(jobs.update().where(jobs.c.id == job_id).values(changed))
        now = datetime.now(UTC)
        connection.execute(insert(prompts), [{"shell_hash": "s", "shell": "{}", "created_at": now}])
        keep(connection, [PRICE], now)
    return found


def write(database: Database, job_ids: list[str], zone: ZoneInfo, sent: list[tuple[datetime, dict[str, Any]]]) -> None:
    """These calls and no others."""
    blank = dict.fromkeys([*(f"{kind}_tokens" for kind in Usage.__slots__), "price_hash", "multipliers"])
    rows = [
        {
            **blank,
            "id": new_id("call"),
            "job_id": job_ids[number % len(job_ids)],
            "attempt": 0,
            "generation": 0,
            "model": PRICE.model,
            "max_tokens": 100,
            "shell_hash": "s",
            "document_hash": "d",
            "queued_ms": 0,
            "estimate_nanousd": 900,
            "synthetic": False,
            "day": day_of(at, zone),
            "sent_at": at,
            **end,
        }
        for number, (at, end) in enumerate(sent)
    ]
    with database.engine.begin() as connection:
        connection.execute(delete(calls))
        if rows:
            connection.execute(insert(calls), rows)


shared = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@shared
@given(sent=st.lists(st.tuples(moments, ends()), max_size=12), zone=st.sampled_from(ZONES))
def test_sums_by_any_grouping_are_the_same_total(
    database: Database, job_ids: list[str], sent: list[tuple[datetime, dict[str, Any]]], zone: ZoneInfo
) -> None:
    write(database, job_ids, zone, sent)
    every = [end for _, end in sent]
    unknown = [end for end in every if end["cost_nanousd"] is None and end["state"] != "sent"]
    for by in CostBy:
        lines = costs(database, by)
        whole = total(line.spent for line in lines)
        assert whole.calls == len(every)
        assert whole.cost_nanousd == sum(end["cost_nanousd"] or 0 for end in every)
        assert (whole.unknown_calls, whole.unknown_estimate_nanousd) == (len(unknown), 900 * len(unknown))
        assert whole.unpriced_calls == sum(end["state"] == "answered" for end in unknown)
        assert whole.open_calls == sum(end["state"] == "sent" for end in every)
        assert whole.failed_nanousd == sum(end["cost_nanousd"] or 0 for end in every if end["fault"])
        assert whole.usage.prompt == sum(
            end.get(f"{kind}_tokens", 0)
            for end in every
            for kind in Usage.__slots__
            if kind not in {"output", "thinking"}
        )
        assert len({line.group for line in lines}) == len(lines)
    assert sum(each.cost_nanousd for each in bought(database, long_over=100_000)) == sum(
        end["cost_nanousd"] or 0 for end in every
    )
    assert sum(each.cost_nanousd for each in booked(database, since=None, until=None, synthetic=False).values()) == sum(
        end["cost_nanousd"] or 0 for end in every
    )


@shared
@given(sent=st.lists(st.tuples(moments, ends()), min_size=1, max_size=12), zone=st.sampled_from(ZONES))
def test_each_call_is_in_one_day_across_midnight_and_clock_changes(
    database: Database, job_ids: list[str], sent: list[tuple[datetime, dict[str, Any]]], zone: ZoneInfo
) -> None:
    write(database, job_ids, zone, sent)
    by_day: dict[str, int] = defaultdict(int)
    for at, end in sent:
        by_day[at.astimezone(zone).date().isoformat()] += end["cost_nanousd"] or 0
    lines = costs(database, CostBy.DAY)
    assert {line.group: line.spent.cost_nanousd for line in lines} == by_day
    first, last = min(by_day), max(by_day)
    assert costs(database, CostBy.DAY, since=first, until=last) == lines
    middle = sorted(by_day)[len(by_day) // 2]
    before = costs(database, CostBy.DAY, until=middle)
    assert before + costs(database, CostBy.DAY, since=day_after(middle)) == lines
    assert len(costs(database, CostBy.DAY, since=middle, until=middle)) == 1
