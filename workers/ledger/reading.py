"""What the command line and other readers ask of the ledger. Changes nothing; memory stays flat however long a list is.

Costs are in `workers.ledger.spending`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Column, Connection, func, select

from tasks.model.call import CallState, Usage
from tasks.model.job import JobState
from tasks.rules.prompting import render
from workers.ledger import tables
from workers.ledger.database import Database
from workers.ledger.migrating import schema_of
from workers.ledger.moving import read_document
from workers.ledger.spending import Spent, spent, spent_columns
from workers.ledger.steps import DOCUMENT, USAGE
from workers.ledger.tables import calls, documents, items, job_events, jobs, prompts, workers

CHUNK = 500
ALIVE_S = 60
"""`health` counts a worker that reported within so long as alive; none is told to report less often."""


@dataclass(frozen=True, slots=True)
class SubmissionLine:
    """A submission in a list. `items` counts its documents, known ones included."""

    id: str
    created_at: datetime
    recipe: str
    label: str
    again: bool
    source: str
    items: int
    estimate: dict[str, Any] | None = None
    """What it was expected to cost when it was submitted; None where nobody asked."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A submission as a whole. The money is that of the jobs it created: known documents cost it nothing."""

    submission: SubmissionLine
    states: Mapping[JobState, int]
    known: int
    """Documents whose job an earlier submission had created."""
    spent: Spent


@dataclass(frozen=True, slots=True)
class FaultLine:
    """Why a job's last attempt failed. `kind` is the name of a `Fault`."""

    kind: str
    message: str
    status: int | None
    code: str | None
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Result:
    """A document of a submission and what came of it so far."""

    position: int
    name: str
    metadata: Mapping[str, Any]
    job_id: str
    document_hash: str
    created: bool
    """Whether this submission created the job, and so pays for it."""
    state: JobState
    complexity: str
    recipe: str
    output: str | None
    fault: FaultLine | None
    model: str | None
    """Of its route; None before the first call."""
    attempts: int
    """Tries that counted so far, the last one included."""
    throttles: int
    finished_at: datetime | None
    spent: Spent


@dataclass(frozen=True, slots=True)
class JobLine:
    """A job as it stands."""

    id: str
    submission_id: str
    name: str
    document_hash: str
    recipe: str
    recipe_hash: str
    values: Mapping[str, str]
    complexity: str
    lane: str
    model: str | None
    state: JobState
    generation: int
    attempt: int
    throttles: int
    owner: str | None
    created_at: datetime
    published_at: datetime | None
    not_before: datetime | None
    message_id: str | None
    started_at: datetime | None
    finished_at: datetime | None
    route_model: str | None
    route_reason: str | None
    output: str | None
    replay_of: str | None
    """The job that was given up, and whose document this one answers."""
    replayed_as: str | None
    """The job that answers in its place."""
    fault: FaultLine | None


@dataclass(frozen=True, slots=True)
class CallLine:
    """A request to Claude, as in `tasks.model.call.Call`, with its moments."""

    id: str
    job_id: str
    attempt: int
    generation: int
    model: str
    max_tokens: int
    shell_hash: str
    document_hash: str
    queued_ms: int
    estimate_nanousd: int | None
    state: CallState
    usage: Usage | None
    cost_nanousd: int | None
    price_source: str | None
    price_version: str | None
    request_id: str | None
    status: int | None
    stop_reason: str | None
    fault: str | None
    first_byte_ms: int | None
    total_ms: int | None
    synthetic: bool
    text: str | None
    sent_at: datetime
    finished_at: datetime | None
    held_nanousd: int | None
    characters: int | None
    day: str
    price_hash: str | None
    multipliers: dict[str, str] | None


@dataclass(frozen=True, slots=True)
class EventLine:
    """Something that happened to a job."""

    at: datetime
    kind: str
    attempt: int
    generation: int
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Story:
    """All there is about a job, each list in the order of time."""

    job: JobLine
    calls: tuple[CallLine, ...]
    events: tuple[EventLine, ...]


@dataclass(frozen=True, slots=True)
class Health:
    """The ledger for `doctor`."""

    dialect: str
    schema: str | None
    jobs: Mapping[JobState, int]
    unpublished: int
    """Queued jobs whose message was never published: submitting the same documents again publishes them."""
    open_calls: int
    unknown_calls: int
    workers: int


def submissions(database: Database, limit: int = 20) -> list[SubmissionLine]:
    """The newest submissions, newest first."""
    newest = (
        select(tables.submissions)
        .order_by(tables.submissions.c.created_at.desc(), tables.submissions.c.id.desc())
        .limit(limit)
    )
    return database.read(lambda connection: _submission_lines(connection, newest))


def submissions_beginning(database: Database, said: str, limit: int = 2) -> list[str]:
    """Ids of submissions that begin so, in order; `sub-` may be left out."""
    return _ids_beginning(database, tables.submissions.c.id, "sub-", said, limit)


def jobs_beginning(database: Database, said: str, limit: int = 2) -> list[str]:
    """Ids of jobs that begin so, in order; `job-` may be left out."""
    return _ids_beginning(database, jobs.c.id, "job-", said, limit)


def progress(database: Database, submission_id: str) -> dict[JobState, int]:
    """How many of the submission's documents are in which state, every state named. Cheap enough to poll."""
    return database.read(lambda connection: _states(connection, submission_id))


def summary(database: Database, submission_id: str) -> Summary | None:
    """The submission as a whole; None when there is none."""

    def read(connection: Connection) -> Summary | None:
        lines = _submission_lines(
            connection, select(tables.submissions).where(tables.submissions.c.id == submission_id)
        )
        if not lines:
            return None
        known = select(func.count()).where(items.c.submission_id == submission_id, items.c.created.is_(False))
        money = select(*spent_columns()).join(jobs, jobs.c.id == calls.c.job_id)
        return Summary(
            submission=lines[0],
            states=_states(connection, submission_id),
            known=connection.execute(known).scalar_one(),
            spent=spent(connection.execute(money.where(jobs.c.submission_id == submission_id)).one()),
        )

    return database.read(read)


def results(database: Database, submission_id: str) -> Iterator[Result]:
    """The submission's documents in its order, read a chunk at a time: a result shows its job as of that moment."""
    after = -1
    while chunk := database.read(partial(_results, submission_id=submission_id, after=after)):
        yield from chunk
        after = chunk[-1].position


def story(database: Database, job_id: str) -> Story | None:
    """All there is about a job; None when there is none."""

    def read(connection: Connection) -> Story | None:
        job = connection.execute(select(jobs).where(jobs.c.id == job_id)).mappings().one_or_none()
        if job is None:
            return None
        told = select(job_events).where(job_events.c.job_id == job_id).order_by(job_events.c.at, job_events.c.id)
        sent = select(calls).where(calls.c.job_id == job_id).order_by(calls.c.sent_at, calls.c.id)
        return Story(
            job=_job_line(job),
            calls=tuple(_call_line(row) for row in connection.execute(sent).mappings()),
            events=tuple(
                EventLine(row["at"], row["kind"], row["attempt"], row["generation"], row["detail"] or {})
                for row in connection.execute(told).mappings()
            ),
        )

    return database.read(read)


def prompt(database: Database, call_id: str) -> dict[str, Any] | None:
    """The prompt of a call as it was sent: system, messages and output_schema. None when there is no such call."""
    wanted = (
        select(prompts.c.shell, jobs.c.name, *(documents.c[name] for name in DOCUMENT))
        .select_from(calls)
        .join(prompts, prompts.c.shell_hash == calls.c.shell_hash)
        .join(jobs, jobs.c.id == calls.c.job_id)
        .join(documents, documents.c.hash == calls.c.document_hash)
        .where(calls.c.id == call_id)
    )
    row = database.read(lambda connection: connection.execute(wanted).mappings().one_or_none())
    if row is None:
        return None
    return render(row["shell"], read_document({name: row[name] for name in DOCUMENT}, row["name"]))


def health(database: Database) -> Health:
    """Counts for `doctor`."""
    at = database.now()
    lost = select(func.count()).where(jobs.c.state == JobState.QUEUED.value, jobs.c.published_at.is_(None))

    def read(connection: Connection) -> Health:
        states = connection.execute(select(jobs.c.state, func.count()).group_by(jobs.c.state)).all()
        seen = connection.execute(select(calls.c.state, func.count()).group_by(calls.c.state)).all()
        by_call = {CallState(state): count for state, count in seen}
        reports = connection.execute(select(workers.c.seen_at)).scalars()
        return Health(
            dialect=database.dialect,
            schema=schema_of(connection),
            jobs=_every_state(dict(states)),
            unpublished=connection.execute(lost).scalar_one(),
            open_calls=by_call.get(CallState.SENT, 0),
            unknown_calls=by_call.get(CallState.UNKNOWN, 0),
            workers=sum((at - seen_at).total_seconds() < ALIVE_S for seen_at in reports),
        )

    return database.read(read)


def _submission_lines(connection: Connection, wanted: Any) -> list[SubmissionLine]:  # noqa: ANN401 - a Select
    rows = connection.execute(wanted).mappings().all()
    counts: dict[str, int] = dict(
        connection.execute(
            select(items.c.submission_id, func.count())
            .where(items.c.submission_id.in_([row["id"] for row in rows]))
            .group_by(items.c.submission_id)
        ).all()
    )
    return [SubmissionLine(**row, items=counts.get(row["id"], 0)) for row in rows]


def _ids_beginning(database: Database, column: Column[str], prefix: str, said: str, limit: int) -> list[str]:
    wanted = prefix + said.removeprefix(prefix)
    # A range and not LIKE, which would read the whole table. No hexadecimal digit sorts after z.
    query = select(column).where(column >= wanted, column < wanted + "z").order_by(column).limit(limit)
    return list(database.read(lambda connection: connection.execute(query).scalars().all()))


def _states(connection: Connection, submission_id: str) -> dict[JobState, int]:
    # The jobs it created are counted in an index alone; only items that point elsewhere cost a join.
    own = select(jobs.c.state, func.count()).where(jobs.c.submission_id == submission_id).group_by(jobs.c.state)
    known = (
        select(jobs.c.state, func.count())
        .select_from(items)
        .join(jobs, jobs.c.id == items.c.job_id)
        .where(items.c.submission_id == submission_id, items.c.created.is_(False))
        .group_by(jobs.c.state)
    )
    # A job that another one answers for is cancelled for good, and no document's any more.
    replayed = select(func.count()).where(jobs.c.submission_id == submission_id, jobs.c.replayed_as.is_not(None))
    counts = {JobState.CANCELLED.value: -connection.execute(replayed).scalar_one()}
    for state, count in (*connection.execute(own), *connection.execute(known)):
        counts[state] = counts.get(state, 0) + count
    return _every_state(counts)


def _every_state(counts: Mapping[str, int]) -> dict[JobState, int]:
    return {state: counts.get(state.value, 0) for state in JobState}


def _results(connection: Connection, submission_id: str, after: int) -> Sequence[Result]:
    wanted = (
        select(items, *(jobs.c[name] for name in _OF_JOB))
        .join(jobs, jobs.c.id == items.c.job_id)
        .where(items.c.submission_id == submission_id, items.c.position > after)
        .order_by(items.c.position)
        .limit(CHUNK)
    )
    rows = connection.execute(wanted).mappings().all()
    money = (
        select(calls.c.job_id, *spent_columns())
        .where(calls.c.job_id.in_([row["job_id"] for row in rows]))
        .group_by(calls.c.job_id)
    )
    by_job = {row.job_id: spent(row) for row in connection.execute(money)}
    return [_result(row, by_job.get(row["job_id"], Spent())) for row in rows]


_OF_JOB = (
    *("document_hash", "state", "complexity", "recipe", "output", "route_model", "attempt", "throttles"),
    *("finished_at", "fault", "fault_message", "fault_status", "fault_code", "fault_request_id"),
)


def _result(row: Mapping[Any, Any], cost: Spent) -> Result:
    state = JobState(row["state"])
    return Result(
        position=row["position"],
        name=row["name"],
        metadata=row["metadata"],
        job_id=row["job_id"],
        document_hash=row["document_hash"],
        created=row["created"],
        state=state,
        complexity=row["complexity"],
        recipe=row["recipe"],
        output=row["output"],
        fault=_fault_line(row),
        model=row["route_model"],
        attempts=row["attempt"] + (state in {JobState.DONE, JobState.DEAD}),
        throttles=row["throttles"],
        finished_at=row["finished_at"],
        spent=cost,
    )


def _fault_line(row: Mapping[Any, Any]) -> FaultLine | None:
    if row["fault"] is None:
        return None
    return FaultLine(
        row["fault"], row["fault_message"], row["fault_status"], row["fault_code"], row["fault_request_id"]
    )


def _job_line(row: Mapping[Any, Any]) -> JobLine:
    fields = {name: row[name] for name in JobLine.__slots__ if name not in {"state", "fault"}}
    return JobLine(**fields, state=JobState(row["state"]), fault=_fault_line(row))


def _call_line(row: Mapping[Any, Any]) -> CallLine:
    fields = {name: row[name] for name in CallLine.__slots__ if name not in {"state", "usage"}}
    usage = None
    if row["input_tokens"] is not None:
        usage = Usage(**{kind: row[f"{kind}_tokens"] for kind in USAGE})
    return CallLine(**fields, state=CallState(row["state"]), usage=usage)
