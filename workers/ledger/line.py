"""The lanes' lines: queued jobs that have not been published yet, which the broker knows nothing of.

A line's order is by priority and turn. A job's turn is given when it is queued, by start-time fair queueing: it begins
at the turn that is next in the line, or behind the last one of its own submission, so that submissions take turns one
by one, however large they are. Where nothing waits, the time itself is the next turn: turns given later are behind all
those before. A paced replay stands in no line before its time, which is an order of its own.

Reads only; `mark_published` takes jobs out of the line.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, select

from tasks.model.budget import Scope
from tasks.model.job import JobState, Message
from tasks.model.priority import Priority
from tasks.rules.budget import is_spent
from tasks.rules.feeding import alternating
from workers.ledger import steps
from workers.ledger.budgets import budgets_now
from workers.ledger.database import Database
from workers.ledger.tables import calls, jobs, workers

Place = tuple[str, int]
"""Lane and priority step: where jobs take turns."""
WINDOW_S = 60.0
"""How far back `recent` looks."""
BARRED_S = 5.0
"""What waits for money alone is looked at so often: a budget may have been raised."""

_UNPUBLISHED = and_(jobs.c.state == steps.word(JobState.QUEUED), jobs.c.published_at.is_(None))
_IN_LINE = and_(_UNPUBLISHED, jobs.c.not_before.is_(None))
_BEFORE_ITS_TIME = and_(_UNPUBLISHED, jobs.c.not_before.is_not(None))
_OF_MESSAGE = (jobs.c.id, jobs.c.generation, jobs.c.lane, jobs.c.priority)
_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_STEPS = [priority.step for priority in Priority]


@dataclass(frozen=True, slots=True)
class Barred:
    """What stays in line for now, because its budget refuses it: it would only be published to wait elsewhere."""

    submissions: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()


NOTHING = Barred()


def barred(database: Database, day: str) -> Barred:
    """Submissions and recipes whose budgets are spent on `day`, or as good as."""
    full = [budget for budget in budgets_now(database, day) if is_spent(budget)]
    return Barred(
        *(tuple(each.name for each in full if each.scope == scope) for scope in (Scope.SUBMISSION, Scope.RECIPE))
    )


def first_turns(
    connection: Connection, places: Iterable[Place], at: datetime, own: Mapping[Place, int]
) -> dict[Place, int]:
    """The turn for the first of new jobs in each place; `own` are the last turns their submission was given there."""
    now = int(at.timestamp() * 1_000_000)
    found = {}
    for lane, step in sorted(set(places)):
        first = select(func.min(jobs.c.turn)).where(_IN_LINE, jobs.c.lane == lane, jobs.c.priority == step)
        next_turn = connection.execute(first).scalar_one()
        found[lane, step] = max(now if next_turn is None else next_turn, own.get((lane, step), -1) + 1)
    return found


class Turns:
    """Hands out the turns of one transaction."""

    def __init__(self, connection: Connection, places: Iterable[Place], at: datetime, own: Mapping[Place, int]) -> None:
        self._next = first_turns(connection, places, at, own)

    def take(self, lane: str, step: int) -> int:
        """The next one in this place."""
        turn = self._next[lane, step]
        self._next[lane, step] = turn + 1
        return turn


def in_line(database: Database, lane: str, limit: int, without: Barred = NOTHING) -> dict[int, list[Message]]:
    """Up to `limit` jobs of each priority step that can be published now, in their order; steps that have some."""
    at = database.now()
    return database.read(lambda connection: _in_line(connection, lane, limit, at, without))


def next_in_s(database: Database, lane: str, without: Barred = NOTHING) -> float | None:
    """Seconds until something of this lane can be published; 0 where there is something, None where nothing waits."""
    at = database.now()
    in_turn = (jobs.c.priority, jobs.c.turn)  # else SQLite takes another index, of all that is queued
    anything = select(jobs.c.id).where(_IN_LINE, jobs.c.lane == lane).order_by(*in_turn).limit(1)
    due = select(func.min(jobs.c.not_before)).where(_BEFORE_ITS_TIME, jobs.c.lane == lane, *_is_let(without))

    def read(connection: Connection) -> float | None:
        if connection.execute(anything.where(*_is_let(without))).first() is not None:
            return 0.0
        moment = connection.execute(due).scalar_one()
        wait_s = None if moment is None else max(0.0, (moment - at).total_seconds())
        if without == NOTHING or connection.execute(anything).first() is None:
            return wait_s
        return BARRED_S if wait_s is None else min(BARRED_S, wait_s)

    return database.read(read)


def waiting(database: Database, lanes: Collection[str]) -> dict[str, int]:
    """How many jobs of each of these lanes wait unpublished, those before their time included."""
    return database.read(lambda connection: {lane: unpublished(connection, lane) for lane in lanes})


def unpublished(connection: Connection, lane: str) -> int:
    """The same for one lane in a transaction. Reads two small indexes: SQLite would not, were it asked all at once."""
    of_lane = jobs.c.lane == lane
    counted = [select(func.count(jobs.c.turn)).where(_IN_LINE, of_lane, jobs.c.priority == step) for step in _STEPS]
    counted.append(select(func.count(jobs.c.not_before)).where(_BEFORE_ITS_TIME, of_lane, jobs.c.not_before > _EVER))
    return sum(connection.execute(each).scalar_one() for each in counted)


def living(database: Database, within_s: float) -> int:
    """Worker processes that were seen within so long."""
    since = database.now() - timedelta(seconds=within_s)
    seen = select(func.count()).where(workers.c.seen_at >= since, workers.c.lost_at.is_(None))
    return database.read(lambda connection: connection.execute(seen).scalar_one())


def recent(database: Database, window_s: float = WINDOW_S) -> dict[str, tuple[int, float]]:
    """Jobs sent lately by lane, and over how many seconds: the window, or since the first where that is shorter."""
    at = database.now()
    since = at - timedelta(seconds=window_s)
    sent = (
        select(jobs.c.lane, func.count(calls.c.job_id.distinct()), func.min(calls.c.sent_at))
        .join(jobs, jobs.c.id == calls.c.job_id)
        .where(calls.c.sent_at >= since)
        .group_by(jobs.c.lane)
    )
    rows = database.read(lambda connection: connection.execute(sent).all())
    return {lane: (count, max(1.0, (at - first).total_seconds())) for lane, count, first in rows}


def _in_line(connection: Connection, lane: str, limit: int, at: datetime, without: Barred) -> dict[int, list[Message]]:
    of_lane = (jobs.c.lane == lane, *_is_let(without))
    due = _messages(connection, limit, jobs.c.not_before, _BEFORE_ITS_TIME, *of_lane, jobs.c.not_before <= at)
    found = {}
    for step in _STEPS:
        in_turn = _messages(connection, limit, jobs.c.turn, _IN_LINE, *of_lane, jobs.c.priority == step)
        both = alternating([message for message in due if message.priority == step], in_turn)
        if both:
            found[step] = both[:limit]
    return found


def _is_let(without: Barred) -> list[ColumnElement[bool]]:
    """Conditions that keep the barred out. None where nothing is, as nearly always: they read each row."""
    conditions: list[ColumnElement[bool]] = []
    if without.submissions:
        conditions.append(jobs.c.submission_id.not_in(without.submissions))
    if without.recipes:
        conditions.append(jobs.c.recipe.not_in(without.recipes))
    return conditions


def _messages(
    connection: Connection, limit: int, order: ColumnElement[Any], *conditions: ColumnElement[bool]
) -> Sequence[Message]:
    wanted = select(*_OF_MESSAGE).where(*conditions).order_by(order).limit(limit)
    return [
        Message(job_id, generation, lane, priority=step)
        for job_id, generation, lane, step in connection.execute(wanted)
    ]
