"""Stopping jobs that have not ended. The caller revokes their messages, which also stops what is running."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from sqlalchemy import Connection, select

from tasks.model.job import Step, sources
from workers.ledger import steps
from workers.ledger.database import Database
from workers.ledger.moving import event_row, tell
from workers.ledger.tables import items, job_events, jobs

CHUNK = 500
LET_GO = "let_go"
"""In a job's story: a submission that waited for it was cancelled, and others wait for it still."""
UNFINISHED = [state.value for state in sources(Step.CANCEL)]


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The jobs that were cancelled, and Celery's ids of their messages, to revoke."""

    job_ids: tuple[str, ...] = ()
    message_ids: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    """Jobs that go on, since other submissions wait for them."""

    def __add__(self, other: Cancelled) -> Cancelled:
        """What came of both; what the second cancelled is not left by the first."""
        job_ids = self.job_ids + other.job_ids
        left = dict.fromkeys(self.left + other.left).keys() - set(job_ids)
        return Cancelled(job_ids, self.message_ids + other.message_ids, tuple(sorted(left)))


def cancel_jobs(database: Database, job_ids: Sequence[str]) -> Cancelled:
    """Cancel these jobs; those that have ended, or are none, are left out."""
    at = database.now()
    cancelled = Cancelled()
    for start in range(0, len(job_ids), CHUNK):
        chunk = sorted(set(job_ids[start : start + CHUNK]))
        cancelled += database.write(partial(_cancel, job_ids=chunk, at=at))
    return cancelled


def cancel_submission(database: Database, submission_id: str) -> Cancelled:
    """Cancel the jobs that the submission waits for, but for those that others wait for too: these are `left`.

    A cancelled submission waits for nothing any more, so that the last one takes the job with it, whoever created it.
    """
    unfinished = (
        select(jobs.c.id)
        .join(items, items.c.job_id == jobs.c.id)
        .where(items.c.submission_id == submission_id, jobs.c.state.in_(UNFINISHED))
        .distinct()
    )
    job_ids = database.read(lambda connection: connection.execute(unfinished).scalars().all())
    at = database.now()
    cancelled = Cancelled()
    for start in range(0, len(job_ids), CHUNK):
        chunk = sorted(job_ids[start : start + CHUNK])
        cancelled += database.write(partial(_let_go, submission_id=submission_id, job_ids=chunk, at=at))
    return cancelled


def _let_go(connection: Connection, submission_id: str, job_ids: Sequence[str], at: datetime) -> Cancelled:
    """Cancel those that nobody else waits for, and note in the others' stories that this one does not any more."""
    others = select(items.c.job_id, items.c.submission_id).where(
        items.c.job_id.in_(job_ids), items.c.submission_id != submission_id
    )
    told = select(job_events.c.job_id, job_events.c.detail).where(
        job_events.c.job_id.in_(job_ids), job_events.c.kind == LET_GO
    )
    gone = {(job_id, detail["submission"]) for job_id, detail in connection.execute(told)}
    awaited = {job_id for job_id, other in connection.execute(others) if (job_id, other) not in gone}
    cancelled = _cancel(connection, [job_id for job_id in job_ids if job_id not in awaited], at)
    left = select(jobs.c.id, jobs.c.attempt, jobs.c.generation).where(
        jobs.c.id.in_(awaited), jobs.c.state.in_(UNFINISHED)
    )
    rows = connection.execute(left.order_by(jobs.c.id)).all()
    tell(
        connection,
        [
            event_row(job_id, at, LET_GO, attempt, generation, submission=submission_id)
            for job_id, attempt, generation in rows
            if (job_id, submission_id) not in gone
        ],
    )
    return cancelled + Cancelled(left=tuple(row.id for row in rows))


def _cancel(connection: Connection, job_ids: Sequence[str], at: datetime) -> Cancelled:
    rows = steps.CANCEL.run(connection, [{"id": job_id, "at": at} for job_id in job_ids])
    tell(connection, [event_row(job_id, at, "cancelled", *place) for job_id, _, *place in rows])
    return Cancelled(tuple(row[0] for row in rows), tuple(row[1] for row in rows if row[1]))
