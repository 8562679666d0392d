"""The ledger for the sweeper: who is gone, what became of his jobs, and which messages the broker should have.

Decides nothing: fates come from `tasks.rules.judging`. Each call is a transaction of its own, in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, and_, exists, extract, func, select, update

from tasks.model.burial import Burial
from tasks.model.call import CallState, Kept
from tasks.model.fault import Fault, KilledWorker, OutOfTime, WorkerLost
from tasks.model.job import Job, JobState, LostJob, Message
from tasks.model.standing import Standing
from tasks.rules.judging import Fate
from workers.ledger import steps
from workers.ledger.budgets import recount
from workers.ledger.counters import read_limits
from workers.ledger.grouped import GroupedLedger
from workers.ledger.inserting import insert_into
from workers.ledger.line import unpublished
from workers.ledger.moving import Recipes, event_row, fault_columns, job_of, tell
from workers.ledger.replaying import expire_letters
from workers.ledger.tables import calls, jobs, slots, workers
from workers.ledger.tally import booked, open_calls_of, open_tally

PATIENCE_S = 2.0
"""The next sweep is soon."""
STOPPED_S = 60.0
"""A process that lives on this machine and does not report is stopped, or stuck: so long it may take to go on."""
PUBLISH_AGAIN_S = 10.0
"""A message just published is on its way."""
CLOSED_AT_ONCE = 5_000
LONGEST_CALL_S = 900.0
"""A call that is older has no one waiting for it: its own deadline is shorter."""

T = TypeVar("T")


class Upkeep:
    """Meets `tasks.ports.Upkeep`, beside the ledger of this process."""

    def __init__(self, ledger: GroupedLedger, *, owner_timeout_s: float, job_deadline_s: float, suspect: str) -> None:
        """Make it.

        Args:
            ledger: This process's, open.
            owner_timeout_s: Silence after which an owner is taken for dead.
            job_deadline_s: Longest that a job is retried.
            suspect: Queue of the jobs whose workers died twice.
        """
        self._ledger = ledger
        self._database = ledger.database
        self._owner_timeout_s = owner_timeout_s
        self._job_deadline_s = job_deadline_s
        self._suspect = suspect
        self._recipes = Recipes()

    async def take_turn(self, name: str, every_s: float) -> bool:
        """See `tasks.ports.Upkeep`."""
        slot = int(self._database.now().timestamp() // every_s)
        return await self._write(lambda connection: _take_turn(connection, name, slot))

    async def unsettled(self, kept: Sequence[Kept]) -> list[tuple[Kept, Job]]:
        """See `tasks.ports.Upkeep`."""
        return await self._read(lambda connection: _unsettled(connection, kept, self._recipes))

    async def silent_owners(self, living: Collection[str]) -> list[str]:
        """See `tasks.ports.Upkeep`."""
        if self._ledger.steady_s() < self._owner_timeout_s:
            return []
        at = self._database.now()
        patience = {True: timedelta(seconds=max(STOPPED_S, self._owner_timeout_s))}
        patience[False] = timedelta(seconds=self._owner_timeout_s)
        seen = await self._read(_owners)
        return [owner for owner, seen_at in seen.items() if seen_at is None or at - seen_at > patience[owner in living]]

    async def lost_jobs(self, owners: Collection[str]) -> list[LostJob]:
        """See `tasks.ports.Upkeep`."""
        return await self._read(lambda connection: _lost_jobs(connection, owners))

    async def note_deaths(self, owners: Collection[str], within_s: float) -> int:
        """See `tasks.ports.Upkeep`."""
        at = self._database.now()
        silent_since = at - timedelta(seconds=self._owner_timeout_s)
        since = at - timedelta(seconds=within_s)
        return await self._write(lambda connection: _note_deaths(connection, owners, at, silent_since, since))

    async def resolve(self, fates: Sequence[tuple[LostJob, Fate]]) -> tuple[list[Message], list[Burial]]:
        """See `tasks.ports.Upkeep`."""
        at = self._database.now()
        return await self._write(lambda connection: _resolve(connection, fates, self._suspect, at))

    async def standing(self) -> Mapping[str, Standing]:
        """See `tasks.ports.Upkeep`."""
        return await self._read(_standing)

    async def missing(self, queue: str, limit: int) -> list[Message]:
        """See `tasks.ports.Upkeep`."""
        at = self._database.now()
        return await self._read(lambda connection: _missing(connection, queue, limit, at))

    async def published(self, messages: Sequence[Message]) -> None:
        """See `tasks.ports.Upkeep`."""
        at = self._database.now()
        rows = [{"id": each.job_id, "generation": each.generation, "at": at} for each in messages]
        await self._write(lambda connection: steps.PUBLISHED.run(connection, rows))

    async def recount_budgets(self) -> int:
        """See `tasks.ports.Upkeep`."""
        return await asyncio.to_thread(recount, self._database)

    async def close_calls(self) -> int:
        """See `tasks.ports.Upkeep`."""
        at = self._database.now()
        return await self._write(lambda connection: _close_calls(connection, at))

    async def expire_letters(self, older_than_s: float) -> int:
        """See `tasks.ports.Upkeep`."""
        return await asyncio.to_thread(expire_letters, self._database, timedelta(seconds=older_than_s))

    async def expire_jobs(self, limit: int) -> list[Burial]:
        """See `tasks.ports.Upkeep`."""
        at = self._database.now()
        return await self._write(lambda connection: _expire(connection, self._job_deadline_s, limit, at))

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.to_thread(self._database.read, work, patience_s=PATIENCE_S)

    async def _write(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.to_thread(self._database.write, work, patience_s=PATIENCE_S)


def _take_turn(connection: Connection, name: str, slot: int) -> bool:
    taken = (
        insert_into(connection, slots)
        .values(name=name, slot=slot)
        .on_conflict_do_update(index_elements=["name"], set_={"slot": slot}, where=slots.c.slot < slot)
        .returning(slots.c.name)
    )
    return connection.execute(taken).first() is not None


def _unsettled(connection: Connection, kept: Sequence[Kept], recipes: Recipes) -> list[tuple[Kept, Job]]:
    still_open: dict[str, datetime] = dict(
        steps.FIND_OPEN_CALL.run(connection, [{"id": each.call.id} for each in kept])
    )
    wanted = [
        # However late it is settled, it has the price of when it was sent.
        replace(each, call=replace(each.call, sent_at=still_open[each.call.id]))
        for each in kept
        if each.call.id in still_open
    ]
    rows = steps.FIND_JOB.run(connection, [{"id": job_id} for job_id in {each.call.job_id for each in wanted}])
    found = {job.id: job for job in (job_of(row, recipes, connection) for row in rows)}
    return [(each, _as_claimed(found[each.call.job_id], each)) for each in wanted]


def _as_claimed(job: Job, kept: Kept) -> Job:
    return replace(job, token=kept.token, generation=kept.call.generation, attempt=kept.call.attempt)


def _owners(connection: Connection) -> dict[str, datetime | None]:
    """Every owner of a running job, with when it was last seen; None for one that is in no list."""
    seen = select(jobs.c.owner, workers.c.seen_at).outerjoin(workers, workers.c.id == jobs.c.owner).distinct()
    rows = connection.execute(seen.where(jobs.c.state == JobState.RUNNING.value))
    return {row.owner: row.seen_at for row in rows}


def _lost_jobs(connection: Connection, owners: Collection[str]) -> list[LostJob]:
    names = ("id", "token", "generation", "attempt", "lane", "crashes", "priority")
    is_sent = exists().where(
        calls.c.job_id == jobs.c.id, calls.c.state == CallState.SENT.value, calls.c.generation == jobs.c.generation
    )
    lost = select(*(jobs.c[name] for name in names), is_sent.label("sent")).where(
        jobs.c.state == JobState.RUNNING.value, jobs.c.owner.in_(owners)
    )
    return [LostJob(**row) for row in connection.execute(lost).mappings()]


def _note_deaths(
    connection: Connection, owners: Collection[str], at: datetime, silent_since: datetime, since: datetime
) -> int:
    found = update(workers).where(workers.c.id.in_(owners), workers.c.lost_at.is_(None)).values(lost_at=at)
    connection.execute(found)
    is_dead = workers.c.lost_at.is_not(None) | (workers.c.seen_at < silent_since)
    died_at = func.coalesce(workers.c.lost_at, workers.c.seen_at)
    return connection.execute(select(func.count()).where(is_dead, died_at >= since)).scalar_one()


def _resolve(
    connection: Connection, fates: Sequence[tuple[LostJob, Fate]], suspect: str, at: datetime
) -> tuple[list[Message], list[Burial]]:
    tally = open_tally(
        connection,
        read_limits(connection),
        ended=[call.id for call in open_calls_of(connection, [job.id for job, _ in fates])],
    )
    fates = _as_judged(connection, fates)
    back = [
        {"id": job.id, "token": job.token, "lane": suspect if fate is Fate.ALONE else job.lane}
        for job, fate in fates
        if fate in {Fate.AGAIN, Fate.ALONE}
    ]
    held, dead = (
        [
            {"id": job.id, "token": job.token, "at": at, **fault_columns(_fault(job, fate))}
            for job, each in fates
            if each is fate
        ]
        for fate in (Fate.UNCERTAIN, Fate.DEAD)
    )
    queued = {job_id for (job_id,) in steps.HAND_BACK_LOST.run(connection, back)}
    ended = {job_id for (job_id,) in steps.LOSE.run(connection, held) + steps.BURY_LOST.run(connection, dead)}
    tally.lose(open_calls_of(connection, queued | ended))
    steps.LOSE_CALLS.run(connection, [{"id": job_id, "at": at} for job_id in queued | ended])
    tally.write(connection, at)
    moved = [(job, fate) for job, fate in fates if job.id in queued | ended]
    tell(connection, [_event(job, fate, at) for job, fate in moved])
    lanes = {row["id"]: row["lane"] for row in back}
    again = [
        Message(job.id, job.generation, lanes[job.id], priority=job.priority) for job, _ in moved if job.id in queued
    ]
    buried = [Burial(job.id, job.generation, job.lane, _fault(job, fate)) for job, fate in moved if fate is Fate.DEAD]
    return again, buried


def _as_judged(connection: Connection, fates: Sequence[tuple[LostJob, Fate]]) -> list[tuple[LostJob, Fate]]:
    """Without the jobs whose call went out since they were looked at: they are for the next sweep to judge.

    Their owner is taken for dead, and may be alive. The rows are locked before the calls are looked for, by a statement
    of its own: on PostgreSQL it sees what has been committed until then, and nothing can be sent after it.
    """
    unsent = [{"id": job.id, "token": job.token, "generation": job.generation} for job, _ in fates if not job.sent]
    steps.LOCK_LOST.run(connection, unsent)
    sent = {job_id for (job_id,) in steps.FIND_SENT.run(connection, unsent)}
    return [(job, fate) for job, fate in fates if job.sent or job.id not in sent]


def _event(job: LostJob, fate: Fate, at: datetime) -> dict[str, Any]:
    if fate in {Fate.AGAIN, Fate.ALONE}:
        return event_row(job.id, at, "worker_lost", job.attempt, job.generation, crashes=job.crashes + 1)
    kind = "uncertain" if fate is Fate.UNCERTAIN else "buried"
    return event_row(job.id, at, kind, job.attempt, job.generation, **fault_columns(_fault(job, fate)))


def _fault(job: LostJob, fate: Fate) -> Fault:
    if fate is Fate.UNCERTAIN:
        return WorkerLost("its worker died after the call was sent, and no answer was kept")
    return KilledWorker(f"killed its worker {job.crashes + 1} times, the last time alone in its lane")


def _standing(connection: Connection) -> dict[str, Standing]:
    counts = select(jobs.c.lane, jobs.c.state, func.count()).group_by(jobs.c.lane, jobs.c.state)
    unfinished = [state.value for state in (*IN_LINE, JobState.RUNNING)]
    found: dict[str, Standing] = {}
    for lane, state, count in connection.execute(counts.where(jobs.c.state.in_(unfinished))):
        before = found.get(lane, Standing())
        if state == JobState.RUNNING.value:
            found[lane] = replace(before, running=count)
        else:
            found[lane] = replace(before, waiting=before.waiting + count)
    for lane, standing in found.items():
        count = unpublished(connection, lane)
        found[lane] = replace(standing, waiting=standing.waiting - count, unpublished=count)
    return found


IN_LINE = (JobState.QUEUED, JobState.WAITING, JobState.PARKED)
"""What has a message in the broker, once it was published."""
_OF_MESSAGE = (jobs.c.id, jobs.c.generation, jobs.c.lane, jobs.c.not_before, jobs.c.priority)


def _missing(connection: Connection, queue: str, limit: int, at: datetime) -> list[Message]:
    before = at - timedelta(seconds=PUBLISH_AGAIN_S)
    found: list[Any] = []
    for state in IN_LINE:  # one by one: each has an index that knows the order
        since = jobs.c.not_before if state is JobState.WAITING else jobs.c.published_at
        is_old = jobs.c.published_at < before
        if state is JobState.WAITING:  # its first message is published by the worker that settled it
            is_old = is_old | jobs.c.published_at.is_(None)
        oldest = select(*_OF_MESSAGE, since).where(
            jobs.c.state == steps.word(state), jobs.c.lane == queue, since.is_not(None), is_old
        )
        found += connection.execute(oldest.order_by(since).limit(limit)).all()
    found.sort(key=lambda row: row[-1])
    return [_message(row, at) for row in found[:limit]]


def _message(row: Any, at: datetime) -> Message:  # noqa: ANN401 - a Row of _OF_MESSAGE
    wait_s = max(0.0, (row.not_before - at).total_seconds()) if row.not_before else 0.0
    return Message(row.id, row.generation, row.lane, wait_s, row.priority)


def _close_calls(connection: Connection, at: datetime) -> int:
    is_running = exists().where(
        jobs.c.id == calls.c.job_id,
        jobs.c.state == JobState.RUNNING.value,
        jobs.c.generation == calls.c.generation,
    )
    is_left = and_(
        calls.c.state == steps.word(CallState.SENT),
        calls.c.sent_at < at - timedelta(seconds=LONGEST_CALL_S),
        ~is_running,
    )
    left = connection.execute(select(calls.c.id).where(is_left).limit(CLOSED_AT_ONCE)).scalars().all()
    tally = open_tally(connection, read_limits(connection), ended=left)
    before = {call.id: call for call in booked(connection, left)}
    closed = (
        update(calls)
        .where(calls.c.id.in_(left), is_left)
        .values(state=CallState.UNKNOWN.value, fault="WorkerLost", finished_at=at)
        .returning(calls.c.id)
    )
    ended = connection.execute(closed).scalars().all() if left else []
    tally.lose(before[call_id] for call_id in ended)
    tally.write(connection, at)
    return len(ended)


def _expire(connection: Connection, deadline_s: float, limit: int, at: datetime) -> list[Burial]:
    overdue = select(jobs.c.id, jobs.c.generation, jobs.c.attempt, jobs.c.lane).where(
        jobs.c.state == steps.word(JobState.WAITING),
        jobs.c.tried_since < at - timedelta(seconds=deadline_s),
        # A retry that is due and lies in its lane, which is paused, or has no worker, does not grow older by that.
        _seconds(connection, jobs.c.tried_since, jobs.c.not_before) > deadline_s,
    )
    found = {row.id: row for row in connection.execute(overdue.limit(limit))}
    fault = OutOfTime(f"retried for {_span(deadline_s)} without an answer")
    said = fault_columns(fault)
    rows = [{"id": row.id, "generation": row.generation, "at": at, **said} for row in found.values()]
    ended = [found[job_id] for (job_id,) in steps.EXPIRE.run(connection, rows)]
    tell(connection, [event_row(row.id, at, "buried", row.attempt, row.generation, **said) for row in ended])
    return [Burial(row.id, row.generation, row.lane, fault) for row in ended]


def _seconds(connection: Connection, since: ColumnElement[Any], until: ColumnElement[Any]) -> ColumnElement[Any]:
    """Between two columns of moments."""
    if connection.dialect.name == "postgresql":
        return extract("epoch", until - since)
    return (func.julianday(until) - func.julianday(since)) * 86_400


def _span(seconds: float) -> str:
    """A setting's length of time as one would have set it: `25 s`, `90 min`, `24 h`."""
    for unit_s, unit in ((3_600, "h"), (60, "min")):
        if seconds % unit_s == 0:
            return f"{seconds / unit_s:g} {unit}"
    return f"{seconds:g} s"
