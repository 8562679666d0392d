"""The ledger for the sweeper, on both databases: who is gone, what became of his jobs, what has to be published."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import Connection, delete, select, text, update

from tasks.model.call import Call, CallState, Kept
from tasks.model.fault import NoRoom, Overloaded, Rejected, ServerFailed, SpendCap
from tasks.model.job import Job, JobState, Message
from tasks.model.standing import Standing
from tasks.model.verdict import Bury, Done, Park, RetryIn, Verdict
from tasks.rules.judging import Fate
from tests.values import an_answer
from tests.workers.ledger.samples import ROUTE, answered, call_of, item, submit
from tests.workers.ledger.test_moving import Worker, kinds, tell
from workers.ledger import (
    Again,
    Database,
    GroupedLedger,
    LetterFilter,
    Upkeep,
    add,
    begin_submission,
    health,
    moving,
    read_letters,
    replay_letters,
)
from workers.ledger.moving import Sending
from workers.ledger.tables import jobs, workers

OWNER_TIMEOUT_S = 0.5
LONG_AGO = timedelta(hours=1)


@pytest.fixture
async def upkeep(url: str) -> AsyncIterator[Upkeep]:
    async with await GroupedLedger.open(url, owner_timeout_s=OWNER_TIMEOUT_S) as ledger:
        yield Upkeep(ledger, owner_timeout_s=OWNER_TIMEOUT_S, job_deadline_s=60, suspect="suspect")


@pytest.fixture
def worker(database: Database) -> Worker:
    return Worker(database, "worker-a")


def running(database: Database, worker: Worker, text: str = "a", *, sent: bool = False) -> tuple[Job, Call]:
    _, (added,) = submit(database, [text])
    job = worker.must_claim(added.job_id)
    call, shell = call_of(job)
    if sent:
        worker.send(Sending(job.token, call, ROUTE, shell))
    return job, call


async def steady(upkeep: Upkeep, seconds: float) -> None:
    """Wait until this process's reports have come through for so long."""
    while upkeep._ledger.steady_s() <= seconds:  # noqa: ASYNC110 - time itself is what it waits for
        await asyncio.sleep(0.02)


async def test_a_turn_is_taken_once(upkeep: Upkeep) -> None:
    turns = await asyncio.gather(*(upkeep.take_turn("sweep", 3600.0) for _ in range(5)))
    assert sorted(turns) == [False, False, False, False, True]
    assert await upkeep.take_turn("other", 3600.0)


async def test_what_a_dead_worker_was_running_is_found_with_its_calls(
    database: Database, worker: Worker, upkeep: Upkeep
) -> None:
    idle, _ = running(database, worker, "a")
    busy, _ = running(database, worker, "b", sent=True)
    other = Worker(database, "worker-b")
    running(database, other, "c")
    lost = {job.id: job for job in await upkeep.lost_jobs(["worker-a"])}
    assert {job.id: job.sent for job in lost.values()} == {idle.id: False, busy.id: True}
    assert lost[busy.id].token == busy.token
    assert lost[busy.id].crashes == 0


@pytest.mark.parametrize(
    ("fate", "state", "fault", "call", "kind"),
    [
        (Fate.AGAIN, JobState.QUEUED, None, CallState.UNKNOWN, "worker_lost"),
        (Fate.ALONE, JobState.QUEUED, None, CallState.UNKNOWN, "worker_lost"),
        (Fate.UNCERTAIN, JobState.UNCERTAIN, "WorkerLost", CallState.UNKNOWN, "uncertain"),
        (Fate.DEAD, JobState.DEAD, "KilledWorker", CallState.UNKNOWN, "buried"),
    ],
)
async def test_a_fate_is_carried_out_once(
    database: Database,
    worker: Worker,
    upkeep: Upkeep,
    fate: Fate,
    state: JobState,
    fault: str | None,
    call: CallState,
    kind: str,
) -> None:
    job, _ = running(database, worker, sent=True)
    lost = await upkeep.lost_jobs(["worker-a"])
    messages, buried = await upkeep.resolve([(each, fate) for each in lost])
    lane = "suspect" if fate is Fate.ALONE else "low"
    assert messages == ([Message(job.id, 0, lane)] if state is JobState.QUEUED else [])
    assert [(each.job_id, each.lane, each.fault.kind) for each in buried] == (
        [(job.id, "low", "KilledWorker")] if state is JobState.DEAD else []
    )
    assert await upkeep.resolve([(each, fate) for each in lost]) == ([], [])
    told = tell(database, job.id)
    assert (told.job.state, told.job.lane) == (state, lane)
    assert (told.job.fault and told.job.fault.kind) == fault
    assert told.calls[0].state is call
    assert kinds(told) == ["created", "claimed", kind]
    assert not worker.settle(job, RetryIn(1, ServerFailed("late"), counts=True))


async def test_deaths_are_counted_from_claim_to_claim(database: Database, worker: Worker, upkeep: Upkeep) -> None:
    job, _ = running(database, worker)
    for deaths, fate in enumerate((Fate.AGAIN, Fate.ALONE, Fate.DEAD)):
        lost = await upkeep.lost_jobs(["worker-a"])
        await upkeep.resolve([(each, fate) for each in lost])
        assert [each.crashes for each in lost] == [deaths]
        worker.claim(job.id)
    assert tell(database, job.id).job.state is JobState.DEAD


@pytest.mark.parametrize("fate", [Fate.AGAIN, Fate.ALONE, Fate.DEAD])
async def test_a_job_whose_call_went_out_since_it_was_looked_at_is_judged_anew(
    database: Database, worker: Worker, upkeep: Upkeep, fate: Fate
) -> None:
    (job, call), (other, _) = running(database, worker, "a"), running(database, worker, "b")
    lost = await upkeep.lost_jobs(["worker-a"])
    assert worker.send(Sending(job.token, call, ROUTE, call_of(job)[1]))
    messages, _ = await upkeep.resolve([(each, fate) for each in lost])
    assert {message.job_id for message in messages} == (set() if fate is Fate.DEAD else {other.id})
    assert tell(database, job.id).job.state is JobState.RUNNING
    (again,) = await upkeep.lost_jobs(["worker-a"])
    assert (again.id, again.sent) == (job.id, True)
    assert await upkeep.resolve([(again, Fate.UNCERTAIN)]) == ([], [])
    assert tell(database, job.id).job.state is JobState.UNCERTAIN


@pytest.mark.parametrize("dialect", [pytest.param("postgresql", marks=pytest.mark.postgres)])
async def test_a_call_that_goes_out_while_its_job_is_being_judged_is_seen(
    database: Database, worker: Worker, upkeep: Upkeep
) -> None:
    job, call = running(database, worker)
    lost = await upkeep.lost_jobs(["worker-a"])
    written, may_commit = threading.Event(), threading.Event()

    def send(connection: Connection) -> None:
        requests = [Sending(job.token, call, ROUTE, call_of(job)[1])]
        assert moving.sending(connection, requests, at=database.now()) == {call.id}
        written.set()
        may_commit.wait(10)

    sending = asyncio.create_task(asyncio.to_thread(database.write, send))
    await asyncio.to_thread(written.wait, 10)
    judging = asyncio.create_task(upkeep.resolve([(each, Fate.AGAIN) for each in lost]))
    while not await asyncio.to_thread(database.read, _is_anyone_waiting):
        assert not judging.done(), "it has to wait for the row"
    may_commit.set()
    await sending
    assert await judging == ([], [])
    assert tell(database, job.id).job.state is JobState.RUNNING


def _is_anyone_waiting(connection: Connection) -> bool:
    waiting = (
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"
    )
    return bool(connection.execute(text(waiting)).scalar_one())


async def test_a_job_that_moved_on_is_not_judged(database: Database, worker: Worker, upkeep: Upkeep) -> None:
    job, _ = running(database, worker)
    lost = await upkeep.lost_jobs(["worker-a"])
    worker.settle(job, Done("out"))
    assert await upkeep.resolve([(each, Fate.AGAIN) for each in lost]) == ([], [])
    assert tell(database, job.id).job.state is JobState.DONE


@pytest.mark.parametrize("fate", [Fate.AGAIN, Fate.UNCERTAIN])
async def test_an_answer_found_later_still_counts(
    database: Database, worker: Worker, upkeep: Upkeep, fate: Fate
) -> None:
    job, call = running(database, worker, sent=True)
    await upkeep.resolve([(each, fate) for each in await upkeep.lost_jobs(["worker-a"])])
    ((kept, found),) = await upkeep.unsettled([Kept(job.token, call, an_answer())])
    assert kept.call == replace(call, sent_at=kept.call.sent_at)
    assert kept.call.sent_at is not None
    assert (found.token, found.generation, found.recipe, found.document) == (
        job.token,
        job.generation,
        job.recipe,
        job.document,
    )
    assert worker.settle(found, Done("found"), answered(call))
    told = tell(database, job.id)
    assert (told.job.state, told.job.output, told.calls[0].cost_nanousd) == (JobState.DONE, "found", 123)
    assert await upkeep.unsettled([Kept(job.token, call, an_answer())]) == []


async def test_an_answer_found_after_a_person_had_the_job_asked_again_is_taken(
    database: Database, worker: Worker, upkeep: Upkeep
) -> None:
    job, call = running(database, worker, sent=True)
    await upkeep.resolve([(each, Fate.UNCERTAIN) for each in await upkeep.lost_jobs(["worker-a"])])
    ((letter,),) = read_letters(database, LetterFilter(JobState.UNCERTAIN))
    (replayed,) = replay_letters(database, JobState.UNCERTAIN, [Again(letter)])
    ((_, found),) = await upkeep.unsettled([Kept(job.token, call, an_answer())])
    assert worker.settle(found, Done("found"), answered(call))
    told = tell(database, job.id)
    assert (told.job.state, told.job.output) == (JobState.DONE, "found")
    assert worker.claim(job.id, replayed.generation) is None


async def test_the_silent_are_judged_by_who_has_been_heard(database: Database, upkeep: Upkeep) -> None:
    silent = Worker(database, "worker-silent")
    running(database, silent, "a")
    silent.late = -timedelta(seconds=30)
    silent.report()
    stopped = Worker(database, "worker-stopped")
    running(database, stopped, "b")
    stopped.late = -timedelta(seconds=30)
    stopped.report()
    running(database, Worker(database, "worker-well"), "c")
    well = Worker(database, "worker-well")
    assert await upkeep.silent_owners({"worker-stopped"}) == [], "we have not been here long enough to tell"
    await steady(upkeep, OWNER_TIMEOUT_S)
    well.report()
    assert await upkeep.silent_owners({"worker-stopped"}) == ["worker-silent"]
    stopped.late = -timedelta(seconds=90)
    stopped.report()
    well.report()
    assert sorted(await upkeep.silent_owners({"worker-stopped"})) == ["worker-silent", "worker-stopped"]


async def test_nobody_is_judged_while_the_ledger_does_not_hear_us_either(
    database: Database, worker: Worker, upkeep: Upkeep
) -> None:
    running(database, worker)
    worker.late = -LONG_AGO
    worker.report()
    await steady(upkeep, OWNER_TIMEOUT_S)
    upkeep._ledger._reported_at -= 10  # no report has come through for so long
    assert await upkeep.silent_owners(()) == []
    await steady(upkeep, 0)
    assert await upkeep.silent_owners(()) == [], "the first report after a gap: the others' may be on their way"


async def test_an_owner_found_dead_is_no_worker_until_it_reports(
    database: Database, worker: Worker, upkeep: Upkeep
) -> None:
    worker.report()
    assert health(database).workers == 2  # with this one
    await upkeep.note_deaths(["worker-a"], 60)
    assert health(database).workers == 1
    worker.report()
    assert health(database).workers == 2
    assert await upkeep.note_deaths([], 60) == 0


async def test_an_owner_in_no_list_is_gone(database: Database, worker: Worker, upkeep: Upkeep) -> None:
    running(database, worker)
    database.write(lambda connection: connection.execute(delete(workers)))
    await steady(upkeep, OWNER_TIMEOUT_S)
    assert await upkeep.silent_owners(()) == ["worker-a"]


async def test_deaths_count_once_and_for_a_while(database: Database, upkeep: Upkeep) -> None:
    for name, late_s in (("worker-a", 0.0), ("worker-b", 0.0), ("worker-silent", 30.0), ("worker-old", 90.0)):
        worker = Worker(database, name)
        worker.late = -timedelta(seconds=late_s)
        worker.report()
    assert await upkeep.note_deaths(["worker-a"], 60) == 2, "the silent one is as good as dead"
    assert await upkeep.note_deaths(["worker-a", "worker-b"], 60) == 3
    assert await upkeep.note_deaths(["worker-silent", "unheard-of"], 60) == 3
    assert await upkeep.note_deaths([], 0) == 0


async def test_what_the_ledger_believes_of_a_queue(database: Database, worker: Worker, upkeep: Upkeep) -> None:
    _, added = submit(database, [f"text {number}" for number in range(6)])
    verdicts: list[Verdict] = [
        Done("out"),
        RetryIn(5, ServerFailed("500"), counts=True),
        Park(5, SpendCap("429")),
    ]
    for one, verdict in zip(added, verdicts, strict=False):
        worker.settle(worker.must_claim(one.job_id), verdict)
    worker.must_claim(added[3].job_id)
    forgotten = begin_submission(database, recipe="summarize")
    add(database, forgotten, [item(0, "never published")])
    assert await upkeep.standing() == {"low": Standing(waiting=4, running=1, unpublished=1)}


async def test_the_oldest_messages_are_published_again_and_not_twice_in_a_row(
    database: Database, upkeep: Upkeep
) -> None:
    ledger_now = database.now()
    ids = []
    for number in range(4):
        _, (added,) = submit(database, [f"text {number}"])
        ids.append(added.job_id)
        _published(database, added.job_id, ledger_now - timedelta(minutes=10 - number))
    _, (fresh,) = submit(database, ["fresh"])
    assert [message.job_id for message in await upkeep.missing("low", 2)] == ids[:2]
    assert [message.job_id for message in await upkeep.missing("low", 10)] == ids, "not the one published just now"
    await upkeep.published([Message(ids[0], 0, "low"), Message(ids[1], 7, "low")])
    assert [message.job_id for message in await upkeep.missing("low", 10)] == ids[1:]
    assert await upkeep.missing("high", 10) == []
    assert fresh.job_id not in ids


async def test_a_retry_is_published_again_for_its_time(database: Database, worker: Worker, upkeep: Upkeep) -> None:
    job, _ = running(database, worker)
    worker.settle(job, RetryIn(100, ServerFailed("500"), counts=True))
    (message,) = await upkeep.missing("low", 10)
    assert (message.job_id, message.generation) == (job.id, 1)
    assert 90 < message.wait_s < 101
    await upkeep.published([message])
    assert await upkeep.missing("low", 10) == []


async def test_a_job_that_is_retried_for_too_long_is_dead(database: Database, worker: Worker, upkeep: Upkeep) -> None:
    late = Worker(database, "worker-b")
    late.late = -LONG_AGO
    old, _ = running(database, late, "a")
    new, _ = running(database, worker, "b")
    parked, _ = running(database, late, "c")
    for job in (old, new):
        worker.settle(job, RetryIn(100, ServerFailed("500"), counts=True))
    worker.settle(parked, Park(100, SpendCap("429")))
    put_off, _ = running(database, late, "d")
    worker.settle(put_off, RetryIn(100, NoRoom("25 s away"), counts=False))
    (buried,) = await upkeep.expire_jobs(10)
    assert (buried.job_id, buried.lane, buried.fault.kind) == (old.id, "low", "OutOfTime")
    assert await upkeep.expire_jobs(10) == []
    told = tell(database, old.id)
    assert told.job.state is JobState.DEAD
    assert told.job.fault
    assert told.job.fault.kind == "OutOfTime"
    assert tell(database, new.id).job.state is JobState.WAITING
    assert tell(database, parked.id).job.state is JobState.PARKED
    assert tell(database, put_off.id).job.state is JobState.WAITING


async def test_a_job_that_lies_in_its_lane_beyond_its_time_does_not_grow_old(
    database: Database, worker: Worker, upkeep: Upkeep
) -> None:
    """Its lane is paused for a weekend, or nobody is running: deadline 60 s, retried for 40 s, and again for 40 s."""
    job, _ = running(database, worker)
    worker.settle(job, RetryIn(40, Overloaded("529"), counts=False))
    age(database, job.id, timedelta(days=2))
    assert await upkeep.expire_jobs(10) == []
    tried = worker.must_claim(job.id, 1)
    worker.settle(tried, RetryIn(10, Overloaded("529"), counts=False))
    assert await upkeep.expire_jobs(10) == []
    age(database, job.id, timedelta(seconds=10))
    worker.settle(worker.must_claim(job.id, 2), RetryIn(40, Overloaded("529"), counts=False))
    age(database, job.id, timedelta(seconds=20))
    (buried,) = await upkeep.expire_jobs(10)
    assert (buried.job_id, buried.fault.message) == (job.id, "retried for 1 min without an answer")


@pytest.mark.parametrize("how", ["stopped", "died"])
async def test_the_time_a_worker_was_gone_is_not_the_jobs(
    database: Database, worker: Worker, upkeep: Upkeep, how: str
) -> None:
    job, _ = running(database, worker)
    worker.settle(job, RetryIn(0, Overloaded("529"), counts=False))
    job = worker.must_claim(job.id, 1)
    if how == "stopped":
        worker.hand_back(job)
    age(database, job.id, timedelta(days=2))
    if how == "died":
        await upkeep.resolve([(each, Fate.AGAIN) for each in await upkeep.lost_jobs(["worker-a"])])
    await upkeep.published([Message(job.id, 1, "low")])
    worker.settle(worker.must_claim(job.id, 1), RetryIn(40, Overloaded("529"), counts=False))
    assert await upkeep.expire_jobs(10) == []


def age(database: Database, job_id: str, by: timedelta) -> None:
    """Let so much time pass for a job."""
    times = [jobs.c[name] for name in ("tried_since", "not_before", "published_at", "started_at")]

    def work(connection: Connection) -> None:
        row = connection.execute(select(*times).where(jobs.c.id == job_id)).mappings().one()
        aged = {name: at and at - by for name, at in row.items()}
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(aged))

    database.write(work)


async def test_calls_that_nobody_waits_for_are_booked(
    database: Database, worker: Worker, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.ledger.upkeep.LONGEST_CALL_S", 0)
    job, call = running(database, worker, "a", sent=True)
    still, _ = running(database, worker, "b", sent=True)
    worker.settle(job, Bury(Rejected("400")), None)
    assert await upkeep.close_calls() == 1
    assert tell(database, job.id).calls[0].state is CallState.UNKNOWN
    assert tell(database, still.id).calls[0].state is CallState.SENT
    worker.settle(job, Done("late"), answered(replace(call)))
    assert tell(database, job.id).calls[0].cost_nanousd == 123


def _published(database: Database, job_id: str, at: object) -> None:
    from workers.ledger import steps

    rows = [{"id": job_id, "generation": 0, "at": at}]
    database.write(partial(steps.PUBLISHED.run, rows=rows))
