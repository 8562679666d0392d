"""Submissions and what came of their documents so far. Memory stays flat however long a list is.

A single job's story is in `workers.ledger.stories`, costs are in `workers.ledger.spending`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, func, select

from tasks.model.job import JobState
from workers.ledger import tables
from workers.ledger.database import Database
from workers.ledger.ids import beginning
from workers.ledger.spending import Spent, spent, spent_columns
from workers.ledger.stories import FaultLine, fault_line
from workers.ledger.tables import calls, items, jobs

CHUNK = 500


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
    return beginning(database, tables.submissions.c.id, "sub-", said, limit)


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


def every_state(counts: Mapping[str, int]) -> dict[JobState, int]:
    """Counts by state with every state named."""
    return {state: counts.get(state.value, 0) for state in JobState}


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
    return every_state(counts)


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
        fault=fault_line(row),
        model=row["route_model"],
        attempts=row["attempt"] + (state in {JobState.DONE, JobState.DEAD}),
        throttles=row["throttles"],
        finished_at=row["finished_at"],
        spent=cost,
    )
