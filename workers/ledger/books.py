"""The ledger for the tasks that total the day and tell of it: each method a transaction of its own, in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, select

from tasks.model.alert import Alert, Delivery
from tasks.model.budget import BudgetNow
from tasks.model.day import ClosedDay, Count, Entered, Trouble
from tasks.model.job import JobState
from tasks.rules.alerting import DEAD_LETTERS
from workers.ledger import days, outbox
from workers.ledger.budgets import budgets_now
from workers.ledger.database import Database
from workers.ledger.steps import word
from workers.ledger.tables import alerts, jobs

PATIENCE_S = 5.0
"""The next turn is soon."""
LETTERS_WITHIN = timedelta(hours=1)

T = TypeVar("T")


class Books:
    """Meets `tasks.ports.Books` and `tasks.ports.Outbox`."""

    def __init__(self, database: Database, now: Callable[[], datetime] | None = None) -> None:
        """Over an open database; `now` is its own clock unless a test says otherwise."""
        self._database = database
        self._now = now or database.now

    async def due_days(self) -> list[str]:
        """See `tasks.ports.Books`."""
        return await self._read(days.due_days)

    async def count(self, day: str) -> Count:
        """See `tasks.ports.Books`."""
        at = self._now()
        return await self._read(lambda connection: days.count_day(connection, day, at))

    async def enter(self, count: Count, zone: ZoneInfo, *, is_final: bool) -> Entered:
        """See `tasks.ports.Books`."""
        return await self._write(lambda connection: days.enter(connection, count, str(zone), is_final=is_final))

    async def closed_days(self, limit: int) -> list[ClosedDay]:
        """See `tasks.ports.Books`."""
        return await self._read(lambda connection: days.closed_days(connection, limit))

    async def budgets(self, day: str) -> Sequence[BudgetNow]:
        """See `tasks.ports.Books`."""
        return await asyncio.to_thread(budgets_now, self._database, day)

    async def trouble(self) -> Trouble:
        """See `tasks.ports.Books`."""
        at = self._now()
        return await self._read(lambda connection: _trouble(connection, at))

    async def tell(self, told: Sequence[Alert], channels: Sequence[str]) -> list[str]:
        """See `tasks.ports.Outbox`."""
        new = await self._read(lambda connection: outbox.unknown_keys(connection, told)) if told else []
        if not new:
            return []
        at = self._now()
        return await self._write(lambda connection: outbox.tell(connection, new, channels, at, due_at=at))

    async def due(self, limit: int) -> list[Delivery]:
        """See `tasks.ports.Outbox`."""
        at = self._now()
        return await self._read(lambda connection: outbox.due(connection, limit, at))

    async def take(self, delivery: Delivery, for_s: float) -> bool:
        """See `tasks.ports.Outbox`."""
        until = self._now() + timedelta(seconds=for_s)
        return await self._write(lambda connection: outbox.take(connection, delivery, until))

    async def sent(self, delivery: Delivery) -> None:
        """See `tasks.ports.Outbox`."""
        at = self._now()
        await self._write(lambda connection: outbox.sent(connection, delivery, at))

    async def failed(self, delivery: Delivery, error: str, next_at: datetime | None) -> None:
        """See `tasks.ports.Outbox`."""
        await self._write(lambda connection: outbox.failed(connection, delivery, error, next_at))

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.to_thread(self._database.read, work, patience_s=PATIENCE_S)

    async def _write(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.to_thread(self._database.write, work, patience_s=PATIENCE_S)


def _trouble(connection: Connection, at: datetime) -> Trouble:
    told_at = connection.execute(
        select(func.max(alerts.c.created_at)).where(alerts.c.kind == DEAD_LETTERS)
    ).scalar_one()
    since = max(told_at or at - LETTERS_WITHIN, at - LETTERS_WITHIN)
    letters = select(func.count()).where(jobs.c.state == word(JobState.DEAD), jobs.c.finished_at > since)
    oldest = (
        select(jobs.c.lane, func.min(jobs.c.created_at))
        .where(jobs.c.state == word(JobState.QUEUED), jobs.c.generation == 0, jobs.c.started_at.is_(None))
        .group_by(jobs.c.lane)
    )
    return Trouble(
        dead_letters=connection.execute(letters).scalar_one(),
        letters_told_at=told_at,
        waiting_since={row[0]: row[1] for row in connection.execute(oldest)},
    )
