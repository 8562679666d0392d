"""Days counted, closed and corrected, on both databases: a closing equals the sum of its day's calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, func, insert, select, update

from config.settings import Settings
from tasks.model.call import CallState
from tasks.model.day import Entered, Total
from tasks.ports import World
from tasks.rules.days import begin_of, day_after, day_of
from tasks.spending import count
from tests.workers.ledger.samples import ROUTE, call_of, submit
from tests.workers.ledger.test_moving import Worker
from workers.ledger import Books, Database, DayLine, new_id, read_days
from workers.ledger.days import reopen
from workers.ledger.moving import Sending
from workers.ledger.tables import calls, days, jobs

BERLIN = ZoneInfo("Europe/Berlin")
BEFORE_THE_CLOCKS_CHANGE = datetime(2026, 3, 28, 20, tzinfo=UTC)


@dataclass
class Ledger:
    """Calls written as a test wants them, and turns of the totalling task at a moment of its choosing."""

    database: Database
    jobs: list[str]
    shell_hash: str
    now: datetime = BEFORE_THE_CLOCKS_CHANGE
    zone: ZoneInfo = BERLIN
    calls: list[str] = field(default_factory=list)

    def pass_time(self, minutes: float) -> None:
        self.now += timedelta(minutes=minutes)

    def send(self, *, late_s: float = 0, which: int = 0) -> str:
        """A call whose day was fixed `late_s` ago and that the ledger has only now."""
        call_id = new_id("call")
        row = {
            "id": call_id,
            "job_id": self.jobs[which % len(self.jobs)],
            "attempt": 0,
            "generation": 0,
            "model": ("model-a", "model-b")[which % 2],
            "max_tokens": 100,
            "shell_hash": self.shell_hash,
            "document_hash": "d",
            "queued_ms": 0,
            "estimate_nanousd": 900,
            "day": day_of(self.now - timedelta(seconds=late_s), self.zone),
            "state": CallState.SENT.value,
            "synthetic": False,
            "sent_at": self.now,
        }
        self._write(lambda connection: connection.execute(insert(calls).values(row)))
        self.calls.append(call_id)
        return call_id

    def end(self, call_id: str, state: CallState, cost_nanousd: int | None, fault: str | None = None) -> None:
        """As `moving.settle` would: what is answered stays answered."""
        values = {"state": state.value, "cost_nanousd": cost_nanousd, "fault": fault, "finished_at": self.now}
        is_open = calls.c.state.in_([CallState.SENT.value, CallState.UNKNOWN.value])
        self._write(
            lambda connection: connection.execute(update(calls).where(calls.c.id == call_id, is_open).values(values))
        )

    def turn(self) -> list[str]:
        """One turn of the task; the days it counted."""
        return asyncio.run(self._turn())

    async def _turn(self) -> list[str]:
        books = Books(self.database, now=lambda: self.now)
        here = cast("World", _Here(Settings(time_zone=self.zone), books))
        due = await books.due_days()
        for day in due:
            await count(day, here)
        return due

    def lines(self) -> dict[str, DayLine]:
        return {line.day: line for line in read_days(self.database)}

    def sums(self) -> dict[str, tuple[int, int]]:
        """Calls and cost of each day, straight from the calls."""
        summed = select(calls.c.day, func.count(), func.coalesce(func.sum(calls.c.cost_nanousd), 0)).group_by(
            calls.c.day
        )
        rows = self.database.read(lambda connection: connection.execute(summed).all())
        return {day: (number, int(cost)) for day, number, cost in rows}

    def forget(self) -> None:
        self._write(lambda connection: (connection.execute(delete(calls)), connection.execute(delete(days))))
        self.calls.clear()
        self.now = BEFORE_THE_CLOCKS_CHANGE

    def _write(self, work: Callable[[Connection], Any]) -> None:
        self.database.write(work)


@dataclass(frozen=True)
class _Here:
    """As much of a World as counting a day takes."""

    settings: Settings
    books: Books


@pytest.fixture
def ledger(database: Database) -> Ledger:
    worker = Worker(database, "worker-a")
    _, added = submit(database, ["a", "b", "c"])
    job = worker.must_claim(added[0].job_id)
    call, shell = call_of(job)
    assert worker.send(Sending(job.token, call, ROUTE, shell))  # which keeps the shell that the others point to
    made = Ledger(database, [one.job_id for one in added], call.shell_hash)
    made._write(
        lambda connection: connection.execute(update(jobs).where(jobs.c.id == added[1].job_id).values(recipe="sort"))
    )
    made.forget()
    return made


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["send", "late", "answer", "fail", "unknown", "turn", "turn"]),
        st.integers(0, 5),
        st.integers(0, 10_000),
        st.sampled_from([0.1, 1, 30, 61, 400, 1_500]),
    ),
    max_size=20,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_whatever_happens_when_a_day_s_closing_is_the_sum_of_its_calls(
    ledger: Ledger, steps: list[tuple[str, int, int, float]]
) -> None:
    ledger.forget()
    for step, which, cost, minutes in steps:
        ledger.pass_time(minutes)
        if step in {"send", "late"}:
            ledger.send(which=which, late_s=240 if step == "late" else 0)
        elif step == "turn":
            ledger.turn()
            check(ledger)
        elif ledger.calls:
            call_id = ledger.calls[which % len(ledger.calls)]
            state = {"answer": CallState.ANSWERED, "fail": CallState.FAILED, "unknown": CallState.UNKNOWN}[step]
            known = {"answer": cost if cost % 7 else None, "fail": 0, "unknown": None}[step]
            ledger.end(call_id, state, known, None if step == "answer" and cost % 3 else "TimedOut")
    ledger.pass_time(3 * 1_440)
    ledger.turn()
    check(ledger)
    assert {day: line.closed_at is not None for day, line in ledger.lines().items()} == dict.fromkeys(
        ledger.sums(), True
    )
    assert ledger.turn() == [], "everything is known and closed"


def check(ledger: Ledger) -> None:
    lines = ledger.lines()
    assert {day: (line.total.calls, line.total.cost_nanousd) for day, line in lines.items()} == ledger.sums()
    for day, line in lines.items():
        for group in ("model", "complexity", "recipe"):
            groups = [Total(**total) for total in line.detail[group].values()]
            assert reduce(Total.__add__, groups, Total()) == line.total
        if line.closed_at is not None:
            assert line.closed_at >= begin_of(day_after(day), ledger.zone)


def test_a_running_day_is_counted_and_stays_open(ledger: Ledger) -> None:
    ledger.end(ledger.send(), CallState.ANSWERED, 100)
    ledger.send()
    ledger.turn()
    (line,) = ledger.lines().values()
    assert (line.day, line.zone, line.closed_at, line.open_calls) == ("2026-03-28", "Europe/Berlin", None, 1)
    assert line.total == Total(calls=2, cost_nanousd=100)


def test_after_days_of_downtime_one_turn_closes_them_all(ledger: Ledger) -> None:
    for _ in range(6):
        ledger.end(ledger.send(), CallState.ANSWERED, 100)
        ledger.pass_time(1_440)
    ledger.turn()
    lines = list(ledger.lines().values())
    assert [line.closed_at is not None for line in lines] == [True] * 6
    assert sum(line.total.cost_nanousd for line in lines) == 600
    assert ledger.turn() == []


def test_a_day_with_an_open_call_waits_an_hour_and_then_names_it(ledger: Ledger) -> None:
    late = ledger.send()
    ledger.pass_time(3 * 60 + 30)  # half an hour after midnight
    ledger.turn()
    assert ledger.lines()["2026-03-28"].closed_at is None
    ledger.pass_time(31)
    ledger.turn()
    line = ledger.lines()["2026-03-28"]
    assert line.closed_at is not None
    assert line.detail["open"] == [late]


def test_a_call_that_is_known_days_later_corrects_the_closing_which_says_so(ledger: Ledger) -> None:
    call_id = ledger.send()
    ledger.end(call_id, CallState.UNKNOWN, None, "WorkerLost")
    ledger.pass_time(2 * 1_440)
    ledger.turn()
    before = ledger.lines()["2026-03-28"]
    assert (before.total.unknown_calls, before.total.unknown_estimate_nanousd) == (1, 900)
    assert before.detail["failed"]["WorkerLost"]["unknown_calls"] == 1
    for _ in range(5):
        ledger.pass_time(1_440)
        ledger.end(ledger.send(), CallState.ANSWERED, 1)
        ledger.turn()
    ledger.end(call_id, CallState.ANSWERED, 700)
    assert "2026-03-28" in ledger.turn()
    after = ledger.lines()["2026-03-28"]
    assert after.total == Total(calls=1, cost_nanousd=700)
    assert after.closed_at == before.closed_at
    (correction,) = after.detail["corrections"]
    assert (correction["cost_nanousd"], correction["unknown_calls"]) == (0, 1)
    assert ledger.turn() == ["2026-04-04"], "which still runs"


def test_calls_priced_anew_reopen_their_day(ledger: Ledger) -> None:
    call_id = ledger.send()
    ledger.end(call_id, CallState.ANSWERED, None)
    ledger.turn()
    assert ledger.lines()["2026-03-28"].detail["unpriced"] == {"model-a": 1}
    ledger.pass_time(1_440)
    ledger.turn()

    def price(connection: Connection) -> None:
        connection.execute(update(calls).where(calls.c.id == call_id).values(cost_nanousd=55))
        reopen(connection, ["2026-03-28"], ledger.now)

    ledger.database.write(price)
    ledger.pass_time(1)
    assert ledger.turn() == ["2026-03-28"]
    line = ledger.lines()["2026-03-28"]
    assert line.total == Total(calls=1, cost_nanousd=55)
    assert [one["unknown_calls"] for one in line.detail["corrections"]] == [1]


def test_an_older_count_never_replaces_a_later_one(ledger: Ledger) -> None:
    ledger.end(ledger.send(), CallState.ANSWERED, 100)

    async def race() -> list[Entered]:
        books = Books(ledger.database, now=lambda: ledger.now)
        early = await books.count("2026-03-28")
        late = replace(early, counted_at=early.counted_at + timedelta(seconds=1))
        return [await books.enter(each, BERLIN, is_final=False) for each in (late, early, late)]

    assert asyncio.run(race()) == [Entered.COUNTED, Entered.UNCHANGED, Entered.UNCHANGED]


def test_two_turns_at_once_write_a_new_day_once(ledger: Ledger) -> None:
    ledger.end(ledger.send(), CallState.ANSWERED, 100)
    ledger.pass_time(1_440)

    async def both() -> None:
        await asyncio.gather(*(ledger._turn() for _ in range(4)))

    asyncio.run(both())
    (line,) = ledger.lines().values()
    assert line.total == Total(calls=1, cost_nanousd=100)
    assert "corrections" not in line.detail
