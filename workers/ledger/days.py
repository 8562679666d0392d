"""The ledger's days: their calls counted, their totals written down, closed, and corrected where calls became known.

Decides nothing about when a day is final: that is `tasks.rules.closing`. Counting only reads, in one statement, so that
a day of many calls keeps no writer waiting; a count is written only over an older one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, func, select, update
from sqlalchemy.engine import Row

from tasks.model.call import CallState
from tasks.model.day import ClosedDay, Count, Entered, Total
from workers.ledger.database import Database
from workers.ledger.inserting import insert_into
from workers.ledger.steps import word
from workers.ledger.tables import calls, days, jobs

RECENT_DAYS = 3
"""Closed days whose calls are counted once more, in case one came after the closing."""
OPEN_NAMED = 20
"""Open calls that a closing names."""
GROUPS = ("model", "complexity", "recipe")


@dataclass(frozen=True, slots=True)
class DayLine:
    """A day as it is written down: a running one as last counted, an ended one as closed."""

    day: str
    zone: str
    """IANA name of the time zone that it was counted in."""
    total: Total
    detail: Mapping[str, Any]
    """`model`, `complexity`, `recipe` and `failed`, each a mapping to the fields of `Total`; `unpriced` calls by model;
    `synthetic_calls`; `open`, ids of calls that were under way; `corrections`, what it said before each."""
    open_calls: int
    counted_at: datetime
    closed_at: datetime | None


def read_days(database: Database, *, since: str = "", until: str = "9999-12-31") -> list[DayLine]:
    """The days from `since` to `until`, both included, in order; those without a call are left out."""
    wanted = select(days).where(days.c.day >= since, days.c.day <= until).order_by(days.c.day)
    return database.read(lambda connection: [_line(row) for row in connection.execute(wanted)])


def reopen(connection: Connection, reopened: Iterable[str], at: datetime) -> None:
    """Have closed days counted and closed again, as one must whose calls were priced anew."""
    for day in set(reopened):
        row = connection.execute(select(days).where(days.c.day == day, days.c.closed_at.is_not(None))).one_or_none()
        if row is not None:
            values = {"detail": {**(row.detail or {}), "corrections": _corrections(row, at)}, "closed_at": None}
            connection.execute(update(days).where(days.c.day == day).values(values))


def due_days(connection: Connection) -> list[str]:
    """Days to be counted: those that are not closed, and those whose calls are not what their closing counted."""
    recent = _recently_closed(connection)
    still_open = connection.execute(select(days.c.day).where(days.c.closed_at.is_(None))).scalars()
    newer = (day for day in _days_after(connection, min(recent, default="")) if day not in recent)
    return sorted({*still_open, *newer, *_better_known(connection), *_grown(connection, recent)})


def _recently_closed(connection: Connection) -> dict[str, int]:
    """Calls that the closings of the last days counted."""
    closed = select(days.c.day, days.c.calls).where(days.c.closed_at.is_not(None)).order_by(days.c.day.desc())
    return {row.day: row.calls for row in connection.execute(closed.limit(RECENT_DAYS))}


def _better_known(connection: Connection) -> list[str]:
    """Days that have other numbers of open and of uncertain calls than were counted."""
    doubtful = select(days.c.day, days.c.open_calls, days.c.uncertain_calls).where(
        (days.c.open_calls > 0) | (days.c.uncertain_calls > 0)
    )
    counted = {day: (still_open, uncertain) for day, still_open, uncertain in connection.execute(doubtful)}
    still_open, uncertain = (_by_day(connection, state) for state in (CallState.SENT, CallState.UNKNOWN))
    return [
        day
        for day in {*counted, *still_open, *uncertain}
        if counted.get(day, (0, 0)) != (still_open.get(day, 0), uncertain.get(day, 0))
    ]


def _grown(connection: Connection, recent: Mapping[str, int]) -> list[str]:
    """Closed days that have other calls than were counted."""
    counts = {day: select(func.count()).where(calls.c.day == day) for day in recent}
    return [day for day, counted in counts.items() if connection.execute(counted).scalar_one() != recent[day]]


def _by_day(connection: Connection, state: CallState) -> dict[str, int]:
    """Calls in a state that few are in, from that state's own index."""
    counted = select(calls.c.day, func.count()).where(calls.c.state == word(state)).group_by(calls.c.day)
    return {row[0]: row[1] for row in connection.execute(counted)}


def _days_after(connection: Connection, day: str) -> Iterable[str]:
    """Days that have calls, one step in the index for each."""
    while True:
        later = connection.execute(select(func.min(calls.c.day)).where(calls.c.day > day)).scalar_one()
        if later is None:
            return
        yield later
        day = later


def count_day(connection: Connection, day: str, at: datetime) -> Count:
    """The calls of a day, counted at `at`."""
    is_unknown = calls.c.cost_nanousd.is_(None) & (calls.c.state != word(CallState.SENT))
    groups = (calls.c.model, jobs.c.complexity, jobs.c.recipe, calls.c.state, calls.c.fault)
    rows = connection.execute(
        select(
            *groups,
            func.count().label("calls"),
            func.coalesce(func.sum(calls.c.cost_nanousd), 0).label("cost_nanousd"),
            func.coalesce(func.sum(case((is_unknown, 1))), 0).label("unknown_calls"),
            func.coalesce(func.sum(case((is_unknown, calls.c.estimate_nanousd))), 0).label("unknown_estimate_nanousd"),
            func.coalesce(func.sum(case((calls.c.synthetic, 1))), 0).label("synthetic_calls"),
        )
        .join(jobs, jobs.c.id == calls.c.job_id)
        .where(calls.c.day == day)
        .group_by(*groups)
    ).all()
    in_state = {state: [row for row in rows if row.state == state.value] for state in CallState}
    return Count(
        day=day,
        counted_at=at,
        total=_sum(rows),
        by={
            **{group: _grouped(rows, group) for group in GROUPS},
            "failed": _grouped([row for row in rows if row.fault is not None], "fault"),
        },
        unpriced={
            model: total.unknown_calls
            for model, total in _grouped(in_state[CallState.ANSWERED], "model").items()
            if total.unknown_calls
        },
        open_calls=_sum(in_state[CallState.SENT]).calls,
        uncertain_calls=_sum(in_state[CallState.UNKNOWN]).calls,
        synthetic_calls=sum(int(row.synthetic_calls) for row in rows),
        open=_open_calls(connection, day) if in_state[CallState.SENT] else (),
    )


def _open_calls(connection: Connection, day: str) -> tuple[str, ...]:
    oldest = select(calls.c.id).where(calls.c.state == word(CallState.SENT), calls.c.day == day)
    return tuple(connection.execute(oldest.order_by(calls.c.sent_at).limit(OPEN_NAMED)).scalars())


def _sum(rows: Sequence[Row[Any]]) -> Total:
    return sum((_total(row) for row in rows), Total())


def _grouped(rows: Sequence[Row[Any]], group: str) -> dict[str, Total]:
    found: defaultdict[str, Total] = defaultdict(Total)
    for row in rows:
        found[getattr(row, group)] += _total(row)
    return dict(sorted(found.items()))


def _total(row: Row[Any]) -> Total:
    return Total(**{name: int(getattr(row, name)) for name in Total.__slots__})


def enter(connection: Connection, count: Count, zone: str, *, is_final: bool) -> Entered:
    """Write a count down; see `tasks.ports.Books`."""
    values = {
        "zone": zone,
        **asdict(count.total),
        "open_calls": count.open_calls,
        "uncertain_calls": count.uncertain_calls,
        "detail": _detail(count),
        "counted_at": count.counted_at,
        "closed_at": count.counted_at if is_final else None,
    }
    made = insert_into(connection, days).values(day=count.day, **values).on_conflict_do_nothing().returning(days.c.day)
    if connection.execute(made).first() is not None:
        return Entered.CLOSED if is_final else Entered.COUNTED
    row = connection.execute(select(days).where(days.c.day == count.day).with_for_update()).one()
    if row.counted_at >= count.counted_at:
        return Entered.UNCHANGED
    if row.closed_at is not None:
        values["closed_at"] = row.closed_at
    is_corrected = row.closed_at is not None and _total(row) != count.total
    corrections = _corrections(row, count.counted_at if is_corrected else None)
    if corrections:
        values["detail"] = {**_detail(count), "corrections": corrections}
    connection.execute(update(days).where(days.c.day == count.day).values(values))
    if row.closed_at is not None:
        return Entered.CORRECTED if is_corrected else Entered.UNCHANGED
    return Entered.CLOSED if is_final else Entered.COUNTED


def _detail(count: Count) -> dict[str, Any]:
    said: dict[str, Any] = {
        group: {name: asdict(total) for name, total in totals.items()} for group, totals in count.by.items()
    }
    said |= {"unpriced": dict(count.unpriced), "synthetic_calls": count.synthetic_calls, "open": list(count.open)}
    return said


def _corrections(row: Row[Any], at: datetime | None) -> list[dict[str, Any]]:
    """What the day's closing said before it was corrected; at `at` once more."""
    before = list((row.detail or {}).get("corrections", ()))
    return before if at is None else [*before, {"at": at.isoformat(), **asdict(_total(row))}]


def closed_days(connection: Connection, limit: int) -> list[ClosedDay]:
    """The last closed days, the newest first."""
    closed = select(days).where(days.c.closed_at.is_not(None)).order_by(days.c.day.desc()).limit(limit)
    return [
        ClosedDay(
            row.day,
            _total(row),
            synthetic_calls=(row.detail or {}).get("synthetic_calls", 0),
            corrections=len((row.detail or {}).get("corrections", ())),
        )
        for row in connection.execute(closed)
    ]


def _line(row: Row[Any]) -> DayLine:
    return DayLine(
        day=row.day,
        zone=row.zone,
        total=_total(row),
        detail=row.detail or {},
        open_calls=row.open_calls,
        counted_at=row.counted_at,
        closed_at=row.closed_at,
    )
