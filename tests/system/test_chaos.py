"""Short, seeded runs of the chaos bench; and that its witness would notice a broken promise."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from scripts.bench.chaos.harms.broker import broker_away
from scripts.bench.chaos.harms.storms import storm
from scripts.bench.chaos.harms.workers import kill_workers, stop_and_continue_a_worker
from scripts.bench.chaos.scenario import Scenario
from scripts.bench.chaos.scenarios import SCENARIOS, SLOW
from scripts.bench.chaos.scene import play
from scripts.bench.chaos.timing import histogram, per_second, too_soon
from scripts.bench.chaos.witness import Death, Finding, OurCall, OurJob, judge
from tasks.model.call import CallState
from tasks.model.job import JobState

FEW_KILLS = partial(kill_workers, most=4)
# Few slots, so that few jobs last as long as the harm does.
SHORT = (
    replace(SCENARIOS["kill-hold-retried"], harm=FEW_KILLS, slots=4),
    # Of four kills three may meet the same job by chance: it would be buried as one that kills its workers.
    replace(SCENARIOS["kill-retry"], harm=partial(kill_workers, most=2), slots=4),
    replace(SCENARIOS["restart-hold"], slots=4, special=dict.fromkeys(range(8), SLOW)),
    replace(SCENARIOS["stop-continue"], harm=partial(stop_and_continue_a_worker, stopped_s=5), slots=4),
    replace(SCENARIOS["rolling-restart"], slots=4),
    replace(SCENARIOS["broker-flushed"], slots=4),
    replace(SCENARIOS["broker-away"], harm=partial(broker_away, away_s=5), slots=4),
    SCENARIOS["long-countdown"],
    SCENARIOS["retry-refused"],
    replace(SCENARIOS["poison"], slots=4),
    replace(SCENARIOS["storm-529"], harm=partial(storm, lasts_s=5), slots=4),
)
JOBS = 40


@pytest.mark.timeout(180)
@pytest.mark.parametrize("scenario", SHORT, ids=lambda scenario: scenario.name)
def test_nothing_is_lost_and_nothing_is_paid_for_twice(scenario: Scenario, tmp_path: Path) -> None:
    outcome = play(scenario, tmp_path, jobs=JOBS, seed=7, workers=2)
    assert outcome.broken == (), outcome
    assert sum(outcome.finding.states.values()) == JOBS


ANSWERED = OurCall(CallState.ANSWERED, "req-1", 1000)
UNKNOWN = OurCall(CallState.UNKNOWN, None, None)
DEATH = Death(since=12.0, at=12.0)


def row(request_id: str, at: float, *, outcome: str = "delivered") -> dict[str, Any]:
    """A row of the bill: a charged request for document `a` that took a second."""
    return {
        "request_id": request_id,
        "at": at,
        "ms": 1000.0,
        "outcome": outcome,
        "charged": True,
        "document": "a",
        "nanousd": 1000,
    }


def found(
    *rows: dict[str, Any], calls: tuple[OurCall, ...], state: JobState = JobState.DONE, may_repeat: bool = True
) -> Finding:
    return judge(["a"], [OurJob("a", state, calls)], rows, [DEATH], may_repeat=may_repeat)


def test_one_answer_that_is_in_the_ledger_is_in_order() -> None:
    assert found(row("req-1", 5), calls=(ANSWERED,)).broken == []


def test_a_document_without_an_outcome_is_lost() -> None:
    assert found(row("req-1", 5), calls=(ANSWERED,), state=JobState.RUNNING).lost == ["a"]
    assert judge(["b"], [], [], [], may_repeat=True).lost == ["b"]


def test_a_repeat_is_allowed_only_after_a_death_and_only_where_crashed_calls_are_retried() -> None:
    cut = (row("req-0", 11.5, outcome="client_gone"), row("req-1", 15))
    assert found(*cut, calls=(UNKNOWN, ANSWERED)).repeated == ["a"]
    assert found(*cut, calls=(UNKNOWN, ANSWERED), may_repeat=False).paid_twice == ["a"]
    early = (row("req-0", 5, outcome="client_gone"), row("req-1", 15))
    assert found(*early, calls=(UNKNOWN, ANSWERED)).paid_twice == ["a"]


def test_a_death_explains_what_the_far_side_noticed_late_and_no_answer_that_late() -> None:
    cut = row("req-0", 11.5, outcome="client_gone") | {"ms": 8000.0}
    again = row("req-1", 25)
    assert found(cut, again, calls=(UNKNOWN, ANSWERED)).repeated == ["a"]
    assert found(cut | {"ms": 12_000.0}, again, calls=(UNKNOWN, ANSWERED)).paid_twice == ["a"]
    assert found(cut | {"outcome": "delivered"}, again, calls=(UNKNOWN, ANSWERED)).paid_twice == ["a"]


def test_a_repeat_after_an_answer_that_was_kept_is_paid_twice() -> None:
    kept = OurCall(CallState.ANSWERED, "req-0", 1000)
    assert found(row("req-0", 11), row("req-1", 15), calls=(kept, ANSWERED)).paid_twice == ["a"]


def test_an_answer_that_reached_a_living_worker_and_is_nowhere_was_dropped() -> None:
    assert found(row("req-1", 5), calls=(UNKNOWN,)).dropped == ["a"]
    assert found(row("req-1", 10.8), calls=(UNKNOWN,), state=JobState.UNCERTAIN).dropped == []


def test_a_charge_that_no_call_tells_of_is_silent() -> None:
    assert found(row("req-1", 10.8), calls=()).silent == ["a"]


def told(document: str, at: float, retry_after_s: float | None = None) -> dict[str, Any]:
    return {"document": document, "at": at, "retry_after_s": retry_after_s}


def test_a_document_asked_for_before_its_retry_after_is_noticed() -> None:
    waited = [told("a", 10, 2.0), told("b", 10.5, 0.1), told("b", 11), told("a", 12.1)]
    assert too_soon(waited) == []
    assert too_soon([*waited, told("c", 20, 3.0), told("c", 22.5)]) == ["c"]
    assert too_soon([told("a", 12), told("a", 11, 2.0)]) == ["a"], "whatever order they come in"


def test_requests_are_counted_second_by_second() -> None:
    counts = per_second([told("a", at) for at in (5.0, 5.9, 8.1)])
    assert counts == [2, 0, 0, 1]
    assert histogram(counts) == "█··▄"
    assert per_second([]) == []


def test_money_is_compared_request_by_request() -> None:
    assert found(row("req-1", 5), calls=(OurCall(CallState.ANSWERED, "req-1", 999),)).money_off_nanousd == -1
