"""The ledger's vital signs, for `doctor`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from tasks.model.call import CallState
from tasks.model.job import JobState
from workers.ledger.database import Database
from workers.ledger.migrating import schema_of
from workers.ledger.outcomes import every_state
from workers.ledger.tables import calls, jobs, workers

ALIVE_S = 60
"""A worker that reported within so long counts as alive; none is told to report less often."""


@dataclass(frozen=True, slots=True)
class Health:
    """The ledger for `doctor`."""

    dialect: str
    schema: str | None
    jobs: Mapping[JobState, int]
    unpublished: int
    """Queued jobs in their lanes' lines: the broker knows nothing of them yet."""
    open_calls: int
    unknown_calls: int
    workers: int


def health(database: Database) -> Health:
    """Counts for `doctor`."""
    at = database.now()
    lost = select(func.count()).where(jobs.c.state == JobState.QUEUED.value, jobs.c.published_at.is_(None))

    def read(connection: Connection) -> Health:
        states = connection.execute(select(jobs.c.state, func.count()).group_by(jobs.c.state)).all()
        seen = connection.execute(select(calls.c.state, func.count()).group_by(calls.c.state)).all()
        by_call = {CallState(state): count for state, count in seen}
        reports = connection.execute(select(workers.c.seen_at).where(workers.c.lost_at.is_(None))).scalars()
        return Health(
            dialect=database.dialect,
            schema=schema_of(connection),
            jobs=every_state(dict(states)),
            unpublished=connection.execute(lost).scalar_one(),
            open_calls=by_call.get(CallState.SENT, 0),
            unknown_calls=by_call.get(CallState.UNKNOWN, 0),
            workers=sum((at - seen_at).total_seconds() < ALIVE_S for seen_at in reports),
        )

    return database.read(read)
