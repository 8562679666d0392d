"""What an estimate reads and leaves in the ledger."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import select, update

from workers.ledger.database import Database
from workers.ledger.tables import jobs, submissions


def known_keys(database: Database, keys: Collection[str]) -> set[str]:
    """Those of these keys, some hundreds, that there is a job of: their documents are not run, or paid for, again."""
    wanted = select(jobs.c.key).where(jobs.c.key.in_(keys))
    return database.read(lambda connection: set(connection.execute(wanted).scalars()))


def keep_estimate(database: Database, submission_id: str, estimate: Mapping[str, Any]) -> None:
    """Note with a submission what it was expected to cost."""
    told = update(submissions).where(submissions.c.id == submission_id).values(estimate=dict(estimate))
    database.write(lambda connection: connection.execute(told))
