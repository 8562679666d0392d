"""Whether a budget has room, what a call counts, and how long to wait."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.model.budget import BudgetNow, Scope, Share
from tasks.model.fault import OverBudget
from tasks.model.verdict import Park
from tasks.rules import budget
from tasks.rules.budget import is_exhausted, refusal, share_of
from tasks.rules.parking import stopped_lanes
from tasks.rules.verdict import Bounds, judge
from tests.values import HAIKU, a_job, catalogue

BERLIN = ZoneInfo("Europe/Berlin")
amounts = st.integers(0, 10**12)


def day(spent: int = 0, held: int = 0, hard: int | None = 1_000, scope: Scope = Scope.DAY) -> BudgetNow:
    return BudgetNow(scope, "" if scope is Scope.DAY else "x", hard, None, spent, held)


@pytest.mark.parametrize(
    ("now", "most", "code", "is_held"),
    [
        (day(900, 0), 100, None, False),
        (day(900, 0), 101, "day", False),
        (day(890, 50), 100, "day", True),  # once the calls under way have ended there is room
        (day(800, 0), 201, "call", False),  # a smaller call still goes
        (day(100, 100), 900, "call", True),
        (day(0, 0), 1_001, "call", False),  # never, whatever ends
        (day(0, 0, scope=Scope.RECIPE), 1_001, "recipe", False),
        (day(990, 5, scope=Scope.SUBMISSION), 7, "submission", True),
        (day(5_000, 5_000, hard=None), 10**9, None, False),
        (day(0, 0), None, "call", False),  # no price: it may cost anything
        (day(1_000, 0, hard=None), None, None, False),
        (day(0, 0, hard=0), 1, "day", False),
    ],
)
def test_a_call_goes_out_where_its_most_has_room(
    now: BudgetNow, most: int | None, code: str | None, is_held: bool
) -> None:
    refused = refusal(now, most)
    assert (refused and refused.code) == code
    if refused is not None:
        assert (refused.retry_after_s is not None) == is_held


def test_a_call_that_never_fits_is_told_so() -> None:
    refused = refusal(day(), 2_000)
    assert refused is not None
    assert "more than the whole budget" in refused.message
    assert refused.message.startswith("budget of the day: $0.000000 of $0.000001 spent")


@pytest.mark.parametrize(
    ("now", "is_refusing", "exhausted"),
    [
        (day(10), True, False),  # one large call was refused: that says nothing of others
        (day(899), True, False),
        (day(900), True, True),
        (day(900), False, False),
        (day(600, 400), False, True),
        (day(5_000, hard=None), False, False),
    ],
)
def test_a_budget_is_used_up_when_little_is_left_and_that_was_refused(
    now: BudgetNow, is_refusing: bool, exhausted: bool
) -> None:
    at = datetime.fromisoformat("2026-11-22T12:00:00+00:00") if is_refusing else None
    assert is_exhausted(replace(now, refused_at=at)) is exhausted


@given(amounts, amounts, amounts, amounts)
def test_what_goes_out_alone_cannot_overrun(spent: int, held: int, hard: int, most: int) -> None:
    if refusal(day(spent, held, hard), most) is None and spent + held <= hard:
        assert spent + held + most <= hard


@pytest.mark.parametrize(
    ("state", "held", "estimate", "cost", "share"),
    [
        ("sent", 5, 9, None, Share(0, 5)),
        ("sent", None, None, None, Share(0, 0)),
        ("answered", 5, 9, 3, Share(3, 0)),
        ("answered", 5, None, None, Share(0, 0)),
        ("answered", 5, 9, None, Share(9, 0)),
        ("failed", 5, 9, 0, Share(0, 0)),
        ("unknown", 5, 9, None, Share(9, 0)),
    ],
)
def test_a_call_counts_what_is_held_then_what_it_cost(
    state: str, held: int | None, estimate: int | None, cost: int | None, share: Share
) -> None:
    assert share_of(state, held_nanousd=held, estimate_nanousd=estimate, cost_nanousd=cost) == share


def over(code: str, retry_after_s: float | None = None) -> OverBudget:
    return OverBudget("over", code=code, retry_after_s=retry_after_s)


@pytest.mark.parametrize(
    ("now", "wait_s"),
    [
        ("2026-11-22T22:00:00+01:00", 2 * 3600),
        ("2026-11-22T23:59:59+01:00", 1),
        ("2026-10-25T00:00:00+02:00", 25 * 3600),  # the clocks go back
        ("2026-03-29T00:00:00+01:00", 23 * 3600),
    ],
)
def test_lanes_wait_for_midnight_where_the_day_is_spent(now: str, wait_s: float) -> None:
    waits = [budget.wait_s(over("day"), datetime.fromisoformat(now), BERLIN, 1e9, draw) for draw in (0.0, 0.99)]
    assert all(wait_s < each <= wait_s + 2 for each in waits)
    assert budget.wait_s(over("day"), datetime.fromisoformat(now), BERLIN, 0.5, 0.5) == 0.5


def test_a_call_of_yesterday_stops_nothing_today() -> None:
    refused = refusal(replace(day(1_000), day="2026-11-22"), 5)
    assert refused is not None
    assert budget.wait_s(refused, datetime.fromisoformat("2026-11-23T00:00:01+01:00"), BERLIN, 3600, 0.5) == 1.5
    assert budget.wait_s(refused, datetime.fromisoformat("2026-11-22T23:59:59+01:00"), BERLIN, 3600, 0.5) == 2.5


@given(st.sampled_from(["recipe", "submission", "call"]), st.floats(0, 1, exclude_max=True))
def test_a_job_that_waits_alone_looks_again_within_a_minute(code: str, draw: float) -> None:
    now = datetime.fromisoformat("2026-11-22T12:00:00+00:00")
    assert 30 <= budget.wait_s(over(code), now, BERLIN, 3600, draw) <= 60
    assert 2 <= budget.wait_s(over(code, 2), now, BERLIN, 3600, draw) <= 10
    assert budget.wait_s(over("day", 2), now, BERLIN, 3600, draw) == 2


@pytest.mark.parametrize(("code", "lanes"), [("day", None), ("recipe", ()), ("submission", ()), ("call", ())])
def test_only_the_day_stops_lanes(code: str, lanes: tuple[str, ...] | None) -> None:
    assert stopped_lanes(over(code), HAIKU, catalogue()) == lanes


@given(st.integers(0, 500), st.integers(0, 500), st.sampled_from(["day", "recipe", "submission", "call"]))
def test_nobody_is_buried_for_want_of_money(attempt: int, throttles: int, code: str) -> None:
    job = a_job(attempt=attempt, throttles=throttles, faults={"OverBudget": 10_000})
    now = datetime.fromisoformat("2026-11-22T12:00:00+00:00")
    verdict = judge(over(code), job, Bounds(5, 200, 3600), storm=True, now=now, draw=0.5)
    assert isinstance(verdict, Park)
