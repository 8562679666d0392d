"""What budgets have used, on both databases: always what their calls say, and never more than they allow."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import Connection, text

from tasks.model.budget import BudgetNow, Scope
from tasks.model.call import Call, CallState
from tasks.model.fault import OverBudget, ServerFailed, TimedOut
from tasks.model.job import Job, LostJob
from tasks.model.verdict import Done, RetryIn
from tasks.rules.budget import is_exhausted
from tasks.rules.judging import Fate
from tests.workers.ledger.samples import ROUTE, answered, call_of, submit
from tests.workers.ledger.test_moving import Worker
from workers.ledger import (
    Database,
    GroupedLedger,
    budgets,
    budgets_now,
    counters,
    moving,
    recount,
    remove_budget,
    set_budget,
    tally,
    upkeep,
)
from workers.ledger.moving import Return, Sending, Settlement

DAY = "2026-11-22"


def allow(
    database: Database, hard: int | None, scope: Scope = Scope.DAY, name: str = "", soft: int | None = None
) -> None:
    set_budget(database, scope, name, hard_nanousd=hard, soft_nanousd=soft, day=DAY, set_by="a test")


def now(database: Database, scope: Scope = Scope.DAY, day: str = DAY) -> BudgetNow:
    (found,) = [each for each in budgets_now(database, day) if each.scope == scope]
    return found


def intent(job: Job, most: int | None = 900, held: int | None = 300, day: str = DAY) -> tuple[Call, str]:
    call, shell = call_of(job)
    return replace(call, estimate_nanousd=most, held_nanousd=held, day=day), shell


def unknown(call: Call) -> Call:
    return replace(call, state=CallState.UNKNOWN, fault="TimedOut")


def failed(call: Call) -> Call:
    return replace(call, state=CallState.FAILED, cost_nanousd=0, fault="ServerFailed")


class Process(Worker):
    """A worker process's transactions, as its ledger makes them, one at a time."""

    def __init__(self, database: Database, name: str = "worker-a") -> None:
        super().__init__(database, name)
        self.watch = budgets.Watch()
        self.look()
        self.last: Callable[[], object] = lambda: None

    def look(self) -> None:
        self.watch._next_look = 0
        self.watch.look(self.database, patience_s=5)

    def open(self, *calls: Call, shell: str = "{}") -> dict[str, OverBudget]:
        def work(connection: Connection, counted: tally.Tally | None) -> None:
            wanted = [Sending(self.tokens[call.job_id], call, ROUTE, shell) for call in calls]
            moving.sending(connection, wanted, at=self._now(), tally=counted)

        found = self._write(work, wanted=calls)
        return found.refused if found else {}

    def end(self, job: Job, call: Call, *, back: bool = False) -> None:
        def work(connection: Connection, counted: tally.Tally | None) -> None:
            at = self._now()
            if back:
                moving.hand_back(connection, [Return(job.id, job.token, call)], at=at, tally=counted)
                return
            verdict = Done("out") if call.state is CallState.ANSWERED else RetryIn(0, ServerFailed("500"), counts=True)
            moving.settle(connection, [Settlement(job, call, verdict)], at=at, tally=counted)

        self._write(work, ended=[call.id])

    def lose(self, job: Job, fate: Fate) -> None:
        lost = LostJob(job.id, job.token, job.generation, job.attempt, "low", crashes=0, sent=True)
        self.last = lambda: self.database.write(
            partial(upkeep._resolve, fates=[(lost, fate)], suspect="suspect", at=self._now())
        )
        self.last()

    def _write(
        self,
        work: Callable[[Connection, tally.Tally | None], None],
        *,
        wanted: Sequence[Call] = (),
        ended: Sequence[str] = (),
    ) -> tally.Tally | None:
        def write(connection: Connection) -> tally.Tally | None:
            counted = self.watch.tally(connection, wanted, ended)
            work(connection, counted)
            if counted is not None:
                counted.write(connection, self._now())
            return counted

        self.last = lambda: self.database.write(write)
        found = self.database.write(write)
        if found is not None:
            self.watch.committed(found)
        return found


def assert_right(database: Database) -> None:
    """Every counter says what its calls say."""
    wrong = database.read(
        lambda connection: [
            (row, share)
            for row in connection.execute(text("SELECT scope, name, day, spent_nanousd, held_nanousd FROM budget_use"))
            for share in connection.execute(counters.counted(counters.Key(*row[:3])))
            if (row[3], row[4]) != (share[0], share[1])
        ]
    )
    assert wrong == []


@pytest.fixture
def process(database: Database) -> Process:
    allow(database, 1_000)
    return Process(database)


def claimed(database: Database, process: Process, texts: Sequence[str], salt: str = "") -> list[Job]:
    return [process.must_claim(added.job_id) for added in submit(database, texts, salt=salt)[1]]


def test_a_call_is_held_then_spent(database: Database, process: Process) -> None:
    (job,) = claimed(database, process, ["a"])
    call, _ = intent(job)
    assert process.open(call) == {}
    assert (now(database).spent_nanousd, now(database).held_nanousd) == (0, 300)
    process.end(job, answered(call, cost_nanousd=123))
    assert (now(database).spent_nanousd, now(database).held_nanousd) == (123, 0)
    process.last()  # the answer to the commit was lost
    assert_right(database)


def test_what_may_have_been_billed_counts_as_its_most_until_it_is_known_better(
    database: Database, process: Process
) -> None:
    (job,) = claimed(database, process, ["a"])
    call, _ = intent(job)
    process.open(call)
    process.lose(job, Fate.UNCERTAIN)
    assert (now(database).spent_nanousd, now(database).held_nanousd) == (900, 0)
    process.last()
    assert (now(database).spent_nanousd, now(database).held_nanousd) == (900, 0)
    process.end(job, answered(call, cost_nanousd=400))  # found in a spool
    assert (now(database).spent_nanousd, now(database).held_nanousd) == (400, 0)


def test_a_call_without_a_price_goes_only_where_no_hard_limit_is(database: Database, process: Process) -> None:
    one, two = claimed(database, process, ["a", "b"])
    (fault,) = process.open(intent(one, None, None)[0]).values()
    assert (fault.code, fault.retry_after_s) == ("call", None)
    assert "prices.toml" in fault.message
    allow(database, None, soft=5)
    process.look()
    assert process.open(intent(two, None, None)[0]) == {}
    assert_right(database)


def test_of_many_at_once_only_those_go_that_have_room(database: Database, process: Process) -> None:
    jobs = claimed(database, process, [f"text {n}" for n in range(5)])
    calls = [intent(job, 500, 200)[0] for job in jobs]
    refused = process.open(*calls)
    assert list(refused) == [call.id for call in calls[3:]]  # 200 + 200 + 200 are held, and 500 more is over 1,000
    assert {fault.retry_after_s is not None for fault in refused.values()} == {True}
    process.last()
    assert now(database).held_nanousd == 600
    assert now(database).refused_at is None
    for job, call in zip(jobs[:3], calls, strict=False):
        process.end(job, answered(call, cost_nanousd=320))
    (fault,) = process.open(calls[3]).values()
    assert (fault.code, fault.retry_after_s) == ("day", None)
    assert is_exhausted(now(database))
    allow(database, 2_000)
    process.look()
    assert not is_exhausted(now(database))
    assert process.open(calls[3]) == {}
    assert_right(database)


def test_a_call_counts_toward_all_its_budgets_or_none(database: Database, process: Process) -> None:
    first, second = claimed(database, process, ["a", "b"])
    submission = database.read(lambda connection: connection.execute(text("SELECT id FROM submissions")).scalar_one())
    allow(database, None, Scope.RECIPE, "summarize", soft=5)
    allow(database, 900, Scope.SUBMISSION, submission)
    allow(database, 10**6, Scope.SUBMISSION, "another")
    process.look()
    assert process.open(intent(first, 900, 300)[0]) == {}
    (fault,) = process.open(intent(second, 650, 10)[0]).values()
    assert fault.code == "submission"
    held = {(each.scope, each.name): each.held_nanousd for each in budgets_now(database, DAY)}
    assert held == {
        ("day", ""): 300,
        ("recipe", "summarize"): 300,
        ("submission", submission): 300,
        ("submission", "another"): 0,
    }
    assert_right(database)


def test_a_new_day_begins_with_nothing(database: Database, process: Process) -> None:
    first, second = claimed(database, process, ["a", "b"])
    call, _ = intent(first, 1_000, 1_000)
    process.open(call)
    assert process.open(intent(second)[0])
    assert process.open(intent(second, day="2026-11-23")[0]) == {}
    process.end(first, answered(call, cost_nanousd=700))  # its cost is the day's on which it was sent
    assert (now(database).spent_nanousd, now(database, day="2026-11-23").held_nanousd) == (700, 300)
    assert_right(database)


def test_a_budget_set_late_counts_what_there_was_and_heals_what_a_process_missed(database: Database) -> None:
    one, other = Process(database, "worker-a"), Process(database, "worker-b")
    jobs = claimed(database, one, ["a", "b"]) + claimed(database, other, ["c"], "x")
    calls = [intent(job, 500, 100)[0] for job in jobs]
    one.open(calls[0])
    allow(database, 10_000)
    assert now(database).held_nanousd == 100
    one.look()
    one.open(calls[1])
    other.open(calls[2])  # it has not read the budgets yet
    assert now(database).held_nanousd == 200
    other.look()
    other.end(jobs[2], answered(calls[2], cost_nanousd=70))
    assert (now(database).spent_nanousd, now(database).held_nanousd) == (70, 200)
    assert_right(database)


def test_a_budget_taken_away_keeps_nobody_back(database: Database, process: Process) -> None:
    first, second = claimed(database, process, ["a", "b"])
    call, _ = intent(first, 1_000, 1_000)
    process.open(call)
    assert remove_budget(database, Scope.DAY, "")
    assert not remove_budget(database, Scope.DAY, "")
    assert process.open(intent(second)[0]) == {}  # though this process has not read the budgets since
    process.end(first, answered(call))
    assert budgets_now(database, DAY) == []
    allow(database, 1_000)
    assert (now(database).spent_nanousd, now(database).held_nanousd) == (123, 300)


def test_the_sweeper_books_what_nobody_waits_for(database: Database, process: Process) -> None:
    (job,) = claimed(database, process, ["a"])
    process.open(intent(job)[0])
    process.end(job, failed(call_of(job)[0]), back=True)  # of another call: this one is left open
    closing = partial(upkeep._close_calls, at=database.now() + timedelta(hours=1))
    assert database.write(closing) == 1
    assert database.write(closing) == 0
    assert (now(database).spent_nanousd, now(database).held_nanousd) == (900, 0)
    assert_right(database)


def test_counters_gone_wrong_are_counted_anew(database: Database, process: Process) -> None:
    (job,) = claimed(database, process, ["a"])
    process.open(intent(job)[0])
    today = database.now().date().isoformat()
    spoil = "UPDATE budget_use SET held_nanousd = 5, spent_nanousd = -7, day = :day"
    assert recount(database) == 0
    database.write(lambda connection: connection.execute(text(spoil), {"day": today}))
    database.write(lambda connection: connection.execute(text("UPDATE calls SET day = :day"), {"day": today}))
    assert recount(database) == 1
    assert_right(database)
    assert recount(database) == 0


@pytest.mark.parametrize("seed", range(4))
def test_counters_are_the_sums_of_their_calls_whatever_happens(database: Database, seed: int) -> None:
    chance = random.Random(seed)
    submission, added = submit(database, [f"text {n}" for n in range(60)])
    allow(database, chance.randrange(20_000), Scope.DAY)
    allow(database, chance.randrange(20_000), Scope.RECIPE, "summarize", soft=1)
    allow(database, chance.randrange(20_000), Scope.SUBMISSION, submission)
    processes = [Process(database, "worker-a"), Process(database, "worker-b")]
    begun: list[tuple[Process, Job, Call]] = []
    ends: list[Callable[[Call], Call]] = [
        partial(answered, cost_nanousd=450),
        partial(answered, cost_nanousd=None),
        failed,
        unknown,
    ]
    for one in added:
        process = chance.choice(processes)
        job = process.must_claim(one.job_id)
        most = chance.choice([None, chance.randrange(3_000)])
        day = chance.choice([DAY, "2026-11-23"])
        call, _ = intent(job, most, None if most is None else chance.randrange(most + 1), day)
        if not process.open(call):
            begun.append((process, job, call))
        for _ in range(chance.randrange(3)):
            if begun:
                process, job, call = chance.choice(begun)
                match chance.randrange(6):
                    case 0:
                        process.lose(job, chance.choice([Fate.UNCERTAIN, Fate.AGAIN, Fate.DEAD]))
                    case 1:
                        process.end(job, chance.choice(ends)(call), back=True)
                    case 2:
                        database.write(partial(upkeep._close_calls, at=database.now() + timedelta(hours=1)))
                    case _:
                        process.end(job, chance.choice(ends)(call))
            if chance.random() < 0.3:
                process.last()
    assert_right(database)
    assert {each.scope for each in budgets_now(database, DAY)} == {"day", "recipe", "submission"}


async def test_five_hundred_at_once_over_three_ledgers_overshoot_nothing_and_use_the_cap(
    url: str, database: Database
) -> None:
    hard, most, held, cost = 100_000, 1_000, 400, 300
    _, added = submit(database, [f"text {n}" for n in range(500)])
    allow(database, hard)
    allow(database, 2 * hard, Scope.RECIPE, "summarize")
    ledgers = [await GroupedLedger.open(url, owner_timeout_s=60) for _ in range(3)]

    async def run(number: int) -> str:
        ledger = ledgers[number % 3]
        job = await ledger.claim(added[number].job_id, 0)
        assert job is not None
        call, shell = intent(job, most, held)
        while True:
            try:
                await ledger.sending(job, call, ROUTE, shell)
                break
            except OverBudget as fault:
                if fault.retry_after_s is None:
                    return "refused"
                await asyncio.sleep(0.05)
        spent = now(database).spent_nanousd + now(database).held_nanousd if number % 50 == 0 else 0
        assert spent <= hard
        await ledger.settle(job, answered(call, cost_nanousd=cost), Done("out"))
        return "sent"

    try:
        outcomes = await asyncio.gather(*(run(number) for number in range(500)))
    finally:
        for ledger in ledgers:
            await ledger.close()
    assert now(database).spent_nanousd == cost * outcomes.count("sent")
    assert 0.9 * hard <= now(database).spent_nanousd <= hard
    assert now(database).held_nanousd == 0
    assert_right(database)


async def test_a_ledger_goes_by_a_budget_soon_after_it_was_set(url: str, database: Database) -> None:
    async with await GroupedLedger.open(url, owner_timeout_s=60) as ledger:
        _, added = submit(database, ["a", "b"])
        jobs = [await ledger.claim(one.job_id, 0) for one in added]
        first, second = [job for job in jobs if job is not None]
        call, shell = intent(first)
        await ledger.sending(first, call, ROUTE, shell)
        allow(database, 500)
        await asyncio.sleep(budgets.OBEYED_AFTER_S)
        with pytest.raises(OverBudget, match="budget of the day"):
            await ledger.sending(second, intent(second)[0], ROUTE, shell)
        await ledger.hand_back(second, None)
        await ledger.settle(first, unknown(call), RetryIn(0, TimedOut("silent"), counts=True))
    assert (now(database).spent_nanousd, now(database).held_nanousd) == (900, 0)
