"""What a person is told, and that the same trouble has the same key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.model.budget import BudgetNow
from tasks.model.day import ClosedDay, Count, Total, Trouble
from tasks.model.standing import Stopped
from tasks.rules.alerting import AlertBounds, Seen, alerts_for
from tests.values import HAIKU, SONNET

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TODAY = "2026-11-22"
DOLLAR = 1_000_000_000
BOUNDS = AlertBounds()


def seen(cost_nanousd: int = 0, **changes: Any) -> Seen:
    today = Count(TODAY, NOW, Total(10, cost_nanousd), by={"model": {HAIKU: Total(10, cost_nanousd)}})
    return replace(Seen(NOW, today), **changes)


def budget(spent: float, *, soft: float | None = None, hard: float | None = None, **changes: Any) -> BudgetNow:
    def nano(amount: float | None) -> int | None:
        return None if amount is None else int(amount * DOLLAR)

    made = BudgetNow("day", "", nano(hard), nano(soft), int(spent * DOLLAR), 0, TODAY)
    return replace(made, **changes)


def keys(what: Seen, bounds: AlertBounds = BOUNDS) -> list[str]:
    return [alert.key for alert in alerts_for(what, bounds)]


def closed(costs: Sequence[int]) -> list[ClosedDay]:
    """The newest first."""
    before = [(date.fromisoformat(TODAY) - timedelta(days=n + 1)).isoformat() for n in range(len(costs))]
    return [ClosedDay(day, Total(5, cost)) for day, cost in zip(before, costs, strict=True)]


def test_nothing_unusual_tells_nothing() -> None:
    assert alerts_for(seen(), BOUNDS) == []


@pytest.mark.parametrize(
    ("spent", "share"), [(4.99, None), (5, 50), (7.99, 50), (8, 80), (9.99, 80), (10, 100), (40, 100)]
)
def test_of_a_soft_budget_the_highest_threshold_crossed_is_told(spent: float, share: int | None) -> None:
    told = alerts_for(seen(budgets=[budget(spent, soft=10)]), BOUNDS)
    assert [alert.detail["threshold_percent"] for alert in told] == ([share] if share else [])


def test_a_soft_budget_says_the_number_the_limit_and_the_next_command() -> None:
    (told,) = alerts_for(seen(budgets=[budget(8.3, soft=10)]), BOUNDS)
    assert told.subject == "budget of the day, 2026-11-22: $8.300000 spent, 83 % of the soft limit of $10.000000"
    assert told.body.endswith("Next: docmill costs --by model")


def test_thresholds_are_the_settings_and_none_tells_of_none() -> None:
    what = seen(budgets=[budget(6, soft=10)])
    assert len(keys(what, AlertBounds(soft_percent=(60,)))) == 1
    assert keys(what, AlertBounds(soft_percent=(70,))) == keys(what, AlertBounds(soft_percent=())) == []


def test_budgets_are_told_of_each_day_and_those_of_submissions_once() -> None:
    def key_on(day: str, scope: str) -> str:
        (key,) = keys(seen(budgets=[budget(10, soft=10, scope=scope, name="x", day=day)]))
        return key

    assert key_on("2026-11-22", "recipe") != key_on("2026-11-23", "recipe")
    assert key_on("", "submission") == key_on("", "submission")


def test_what_happened_just_before_midnight_is_told_of_its_day() -> None:
    yesterday = Count("2026-11-21", NOW, Total(9, 100), unpriced={"claude-9": 3})
    told = keys(seen(earlier=[yesterday], closed=closed([0, *[10] * 5])))
    assert told == ["day.unusual/2026-11-21", "price.unknown/claude-9/2026-11-21"]


def test_a_hard_budget_is_told_of_once_it_leaves_nothing_and_again_once_it_was_raised() -> None:
    assert keys(seen(budgets=[budget(9.9, hard=10)])) == []
    (first,) = alerts_for(seen(budgets=[budget(9.9, hard=10, held_nanousd=DOLLAR // 10)]), BOUNDS)
    assert first.kind == "budget.hard"
    assert "no room under the hard limit of $10.000000" in first.subject
    assert "All lanes wait until the day turns or the budget is raised" in first.body
    (second,) = keys(seen(budgets=[budget(20, hard=20)]))
    assert second != first.key


def test_a_call_that_is_too_large_is_told_of_as_that_and_the_budget_once_more_when_it_is_used_up() -> None:
    (large,) = alerts_for(seen(budgets=[budget(0.1, hard=10, refused_at=NOW)]), BOUNDS)
    assert large.kind == "budget.call"
    assert "$0.100000 of $10.000000 spent, and a call waits that may cost more than the rest" in large.subject
    assert "Others go on" in large.body
    (used_up,) = alerts_for(seen(budgets=[budget(9, hard=10, refused_at=NOW)]), BOUNDS)
    assert used_up.kind == "budget.hard"


def test_days_that_nobody_looked_at_are_told_of_when_somebody_does() -> None:
    friday, saturday = (Count(f"2026-11-{day}", NOW, Total(9, 100), unpriced={"claude-9": 3}) for day in (20, 21))
    over = [budget(8, soft=10, day=day) for day in ("2026-11-20", "2026-11-21", TODAY)]
    told = keys(seen(earlier=[friday, saturday], budgets=over, closed=closed([5, 5, 5])), AlertBounds(digest=True))
    for day in ("2026-11-20", "2026-11-21"):
        assert {f"price.unknown/claude-9/{day}", f"budget.soft/day//{day}/80/{10 * DOLLAR}", f"day.digest/{day}"} < set(
            told
        )
    assert "day.digest/2026-11-19" not in told  # counted and told long ago


@pytest.mark.parametrize(
    ("before", "cost", "told"),
    [
        ([10] * 14, 31, True),
        ([10] * 14, 30, False),
        ([10] * 5, 31, True),
        ([10] * 4, 1_000, False),  # too few to tell
        ([0] * 14, 1_000, False),  # nothing is usual yet
        ([1, 1, 1, 1, 1, 100, 100, 100, 100, 100, 100], 250, False),
    ],
)
def test_an_unusual_day_is_measured_by_the_median(before: list[int], cost: int, told: bool) -> None:
    assert (f"day.unusual/{TODAY}" in keys(seen(cost, closed=closed(before)))) is told


def test_an_unpriced_model_is_told_of_once_a_day() -> None:
    what = seen()
    what = replace(what, today=replace(what.today, unpriced={"claude-9": 3}))
    (alert,) = alerts_for(what, BOUNDS)
    assert alert.key == f"price.unknown/claude-9/{TODAY}"
    assert "3 calls to claude-9" in alert.subject
    assert "$0" not in alert.subject


def stopped(fault: str, since: datetime = NOW) -> Stopped:
    return Stopped(fault, "the organization's spending limit is reached", since)


def test_lanes_that_stopped_together_are_told_of_together() -> None:
    pauses = {"docmill.low": stopped("SpendCap"), "docmill.high": stopped("SpendCap")}
    (alert,) = alerts_for(seen(stopped=pauses), BOUNDS)
    assert alert.subject == "lanes docmill.high, docmill.low are stopped by SpendCap since 12:00 UTC"
    later = seen(stopped={"docmill.low": pauses["docmill.low"]}, now=NOW + timedelta(hours=5))
    assert keys(later) == [alert.key], "one is open again: the same trouble"
    again = {"docmill.low": stopped("SpendCap", NOW + timedelta(hours=1))}
    assert keys(seen(stopped=again)) != [alert.key], "a new pause is new trouble"


@pytest.mark.parametrize(
    ("fault", "age_s", "told"),
    [
        ("Unauthorized", 0, True),
        ("UnknownModel", 0, True),
        ("Overloaded", 599, False),  # passes by itself
        ("Overloaded", 600, True),
        ("OverBudget", 9_999, False),  # the budget tells of itself
        ("", 9_999, False),  # a person's own
    ],
)
def test_what_needs_a_person_is_told_at_once_and_what_passes_after_a_while(fault: str, age_s: int, told: bool) -> None:
    pauses = {"docmill.low": stopped(fault, NOW - timedelta(seconds=age_s))}
    assert bool(keys(seen(stopped=pauses))) is told


@pytest.mark.parametrize(("letters", "limit", "told"), [(50, 50, False), (51, 50, True), (51, 0, False), (1, 0, False)])
def test_dead_letters_above_the_limit_are_told_of(letters: int, limit: int, told: bool) -> None:
    what = seen(trouble=Trouble(dead_letters=letters))
    assert bool(keys(what, AlertBounds(dead_letters=limit))) is told


def test_more_dead_letters_after_the_last_alert_are_new_trouble() -> None:
    first, second = (keys(seen(trouble=Trouble(dead_letters=60, letters_told_at=told_at))) for told_at in (None, NOW))
    assert first != second


def test_a_lane_whose_jobs_wait_is_told_of_once_a_day() -> None:
    waiting = {"docmill.low": NOW - timedelta(hours=2), "docmill.high": NOW - timedelta(minutes=59)}
    (alert,) = alerts_for(seen(trouble=Trouble(waiting_since=waiting)), BOUNDS)
    assert alert.key == f"queue.old/docmill.low/{TODAY}"
    assert "waited 2 h 00 min for its first turn; the limit is 1 h 00 min" in alert.subject
    assert keys(seen(trouble=Trouble(waiting_since=waiting)), AlertBounds(queue_age_s=0)) == []


@pytest.mark.parametrize(
    ("days_left", "told"), [(31, None), (30, 30), (8, 30), (7, 7), (2, 7), (1, 1), (0, 0), (-5, 0)]
)
def test_a_retirement_is_told_of_a_month_a_week_and_a_day_before(days_left: int, told: int | None) -> None:
    retires_on = date.fromisoformat(TODAY) + timedelta(days=days_left)
    expected = [] if told is None else [f"model.retires/{SONNET}/{retires_on}/{told}"]
    assert keys(seen(retirements={SONNET: retires_on})) == expected


def test_yesterday_is_told_of_where_that_is_wanted_and_again_where_it_was_corrected() -> None:
    yesterday, before = closed([3 * DOLLAR, DOLLAR])
    wanted = AlertBounds(digest=True)
    (digest,) = alerts_for(seen(closed=[yesterday, before]), wanted)
    assert digest.subject == "2026-11-21: $3.000000 for 5 calls"
    assert keys(seen(closed=[yesterday, before])) == []
    (corrected,) = keys(seen(closed=[replace(yesterday, corrections=1)]), wanted)
    assert corrected != digest.key


@given(
    spent=st.integers(0, 20 * DOLLAR),
    soft=st.none() | st.integers(0, 10 * DOLLAR),
    hard=st.none() | st.integers(0, 10 * DOLLAR),
    cost=st.integers(0, 100 * DOLLAR),
    before=st.lists(st.integers(0, 10 * DOLLAR), max_size=14),
    letters=st.integers(0, 100),
    later_s=st.integers(0, 3_600),
)
def test_a_look_a_little_later_finds_the_same_keys(
    spent: int, soft: int | None, hard: int | None, cost: int, before: list[int], letters: int, later_s: int
) -> None:
    what = seen(
        cost,
        budgets=[BudgetNow("day", "", hard, soft, spent, 0)],
        closed=closed(before),
        stopped={"docmill.low": stopped("SpendCap")},
        trouble=Trouble(letters, None, {"docmill.low": NOW - timedelta(hours=2)}),
    )
    found = alerts_for(what, BOUNDS)
    assert [alert.key for alert in found] == keys(replace(what, now=NOW + timedelta(seconds=later_s)))
    assert len({alert.key for alert in found}) == len(found)
    assert all("\n" not in alert.subject and alert.body.splitlines()[-1].startswith("Next: docmill") for alert in found)
