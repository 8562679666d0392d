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
from workers.ledger.tables import jobs

CHUNK = 500


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The jobs that were cancelled, and Celery's ids of their messages, to revoke."""

    job_ids: tuple[str, ...] = ()
    message_ids: tuple[str, ...] = ()

    def __add__(self, other: Cancelled) -> Cancelled:
        return Cancelled(self.job_ids + other.job_ids, self.message_ids + other.message_ids)


def cancel_jobs(database: Database, job_ids: Sequence[str]) -> Cancelled:
    """Cancel these jobs; those that have ended, or are none, are left out."""
    at = database.now()
    cancelled = Cancelled()
    for start in range(0, len(job_ids), CHUNK):
        chunk = sorted(set(job_ids[start : start + CHUNK]))
        cancelled += database.write(partial(_cancel, job_ids=chunk, at=at))
    return cancelled


def cancel_submission(database: Database, submission_id: str) -> Cancelled:
    """Cancel the jobs that the submission created. Those it found already there belong to another one."""
    unfinished = select(jobs.c.id).where(
        jobs.c.submission_id == submission_id, jobs.c.state.in_([state.value for state in sources(Step.CANCEL)])
    )
    return cancel_jobs(database, database.read(lambda connection: connection.execute(unfinished).scalars().all()))


def _cancel(connection: Connection, job_ids: Sequence[str], at: datetime) -> Cancelled:
    rows = steps.CANCEL.run(connection, [{"id": job_id, "at": at} for job_id in job_ids])
    steps.TELL.run(
        connection,
        [
            {
                "job_id": job_id,
                "at": at,
                "kind": "cancelled",
                "attempt": attempt,
                "generation": generation,
                "detail": None,
            }
            for job_id, _, attempt, generation in rows
        ],
    )
    return Cancelled(tuple(row[0] for row in rows), tuple(row[1] for row in rows if row[1]))
