"""Budgets over several workers: never overrun, well used, and nothing lost. Witness: the simulator's bill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis

from config.catalogue import Complexity
from scripts.cli import main
from tasks.model.budget import BudgetNow, Scope
from tasks.model.job import JobState
from tasks.rules.budget import is_exhausted
from tests.postgres import PostgresServer
from tests.system.mill import Mill
from workers.ledger import budgets_now, recount, set_budget
from workers.transport import Pause, Pauses

pytestmark = pytest.mark.timeout(180)

LANES = ["docmill.low", "docmill.medium", "docmill.high", "docmill.suspect"]
CAP = 100_000_000
"""Ten cents: about half of what 500 letters cost, and thirty times the most that one can cost."""
PLENTY = 100 * CAP


def letters(count: int, text: str = "", seconds: float = 0.5) -> list[str]:
    return [f"{{{{sim:latency:{seconds}}}}} Letter {n}. {text} The parcel came on the {n}th." for n in range(count)]


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def allow(mill: Mill, hard: int, scope: Scope = Scope.DAY, name: str = "") -> None:
    set_budget(mill.producer.database, scope, name, hard_nanousd=hard, soft_nanousd=None, day=today(), set_by="a test")


def now(mill: Mill, scope: Scope = Scope.DAY) -> BudgetNow:
    return next(each for each in budgets_now(mill.producer.database, today()) if each.scope == scope)


def billed(mill: Mill) -> int:
    return sum(row["nanousd"] for row in mill.bill())


def pauses_of(mill: Mill) -> dict[str, Pause]:
    with redis.Redis.from_url(mill.valkey.url) as client:
        return Pauses(client).read(LANES)


def is_stopped(mill: Mill) -> bool:
    """Whether the day's budget is used up: nothing goes out until somebody allows more."""
    return now(mill).refused_at is not None and mill.in_flight() == 0 and now(mill).held_nanousd == 0


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def mill(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mill]:
    url = ""
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.new_database("budgets")
    with Mill(tmp_path, database_url=url) as fresh:
        yield fresh


def test_three_workers_use_the_day_up_and_not_a_nano_dollar_more(mill: Mill, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = [mill.spawn_worker() for _ in range(3)]
    mill.until(lambda: all(worker.ready for worker in workers), "all workers are up")
    allow(mill, CAP)
    receipt = mill.submit(letters(500))
    mill.until(lambda: is_stopped(mill), "the budget is used up", wait_s=90)
    mill.until(lambda: {pause.fault for pause in pauses_of(mill).values()} == {"OverBudget"}, "the lanes are stopped")
    at_rest = {JobState.DONE, JobState.PARKED, JobState.QUEUED}
    mill.until(lambda: mill.states(receipt).keys() <= at_rest, "nothing runs")  # in one look: a job may look for money
    spent = billed(mill)
    assert 0.9 * CAP <= spent <= CAP
    assert now(mill).spent_nanousd == spent

    for name, value in mill.environment.items():
        if name.startswith("DOCMILL_"):
            monkeypatch.setenv(name, value)
    assert main(["budget", "set", "day", "--hard", "10"]) == 0
    results = mill.finish(receipt)
    assert Counter(result.state for result in results) == {JobState.DONE: 500}
    assert ({result.attempts for result in results}, {result.throttles for result in results}) == ({1}, {0})
    assert now(mill).spent_nanousd == billed(mill)
    assert len([row for row in mill.bill() if row["charged"]]) == 500
    mill.until(lambda: "docmill.low" not in pauses_of(mill), "the lane is open, and not tried with one job at a time")


def test_a_script_with_many_tokens_and_a_workspace_that_pays_for_the_us_overrun_nothing(tmp_path: Path) -> None:
    """Nothing is learned yet when the first calls go out, all at once."""
    simulator = {"latency": "0.3", "defaults": {"inference_geo": "us"}}
    with Mill(tmp_path, simulator=simulator) as mill:
        mill.start_worker()
        allow(mill, 5 * CAP)
        receipt = mill.submit(
            [f"手紙の{n}番。{'小包が今日届きました。' * 300}" for n in range(100)], complexity=Complexity.HIGH
        )
        mill.until(lambda: is_stopped(mill), "the budget is used up", wait_s=90)
        spent = billed(mill)
        assert 0.9 * 5 * CAP <= spent <= 5 * CAP
        assert now(mill).spent_nanousd == spent
        mill.until(lambda: JobState.RUNNING not in mill.states(receipt), "nothing runs")


def test_a_call_too_large_for_what_is_left_waits_while_small_ones_go_on(tmp_path: Path) -> None:
    with Mill(tmp_path) as mill:
        mill.start_worker()
        allow(mill, CAP)
        large = mill.submit(["A long letter. " * 40_000])
        mill.until(lambda: now(mill).refused_at is not None, "it is refused")
        results = mill.finish(mill.submit(letters(10, seconds=0)))
        assert Counter(result.state for result in results) == {JobState.DONE: 10}
        assert mill.states(large) == {JobState.PARKED: 1}
        assert pauses_of(mill) == {}
        assert not is_exhausted(now(mill))


@pytest.mark.parametrize("mill", ["sqlite"], indirect=True)
def test_a_submission_over_its_budget_waits_while_others_go_on(mill: Mill) -> None:
    mill.start_worker()
    mill.start_beat()
    allow(mill, PLENTY)
    receipt = mill.submit(letters(100, "own", 0.2), hard_nanousd=CAP // 10)
    mill.until(lambda: now(mill, Scope.SUBMISSION).refused_at is not None, "its budget is used up")
    other = mill.submit(letters(100, "other", 0.2))
    assert Counter(result.state for result in mill.finish(other)) == {JobState.DONE: 100}
    mill.until(lambda: mill.states(receipt).keys() == {JobState.DONE, JobState.PARKED}, "the rest waits")
    assert pauses_of(mill) == {}
    mine = now(mill, Scope.SUBMISSION)
    assert 0.6 * CAP // 10 <= mine.spent_nanousd <= CAP // 10
    assert now(mill).spent_nanousd == billed(mill)
    assert "messages.lost" not in mill.log(1).read_text()
    assert recount(mill.producer.database) == 0


@pytest.mark.parametrize("mill", ["sqlite"], indirect=True)
def test_what_a_killed_worker_held_is_settled(mill: Mill) -> None:
    worker = mill.start_worker()
    allow(mill, PLENTY)
    receipt = mill.submit(letters(30, seconds=30))
    mill.until(lambda: mill.in_flight() == 30, "all calls are under way")
    assert now(mill).held_nanousd > 0
    worker.kill()
    worker.wait()
    mill.start_worker()
    mill.until(lambda: mill.states(receipt) == {JobState.UNCERTAIN: 30}, "their jobs are left to a person")
    assert now(mill).held_nanousd == 0
    assert now(mill).spent_nanousd >= 30 * 3_000_000  # at most 600 tokens each, at 5 dollars a million
    assert recount(mill.producer.database) == 0
