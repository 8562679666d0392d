"""What the ledger holds against the provider's bill: sums by the provider's days, which are UTC's, and single calls."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select

from tasks.model.call import CallState, Usage
from tasks.rules.billing import same_model
from tasks.rules.reconciling import Booked, BookedCall, Where
from workers.ledger.database import Database
from workers.ledger.spending import spent, spent_columns
from workers.ledger.steps import USAGE
from workers.ledger.tables import calls

CHUNK = 5_000


def booked(database: Database, *, since: str | None, until: str | None, synthetic: bool) -> dict[Where, Booked]:
    """Sums by UTC day and model, of the days from `since` to `until`; the simulator's answers only if `synthetic`.

    Calls that were refused, or of which nothing is known but that they are under way, cost nothing and are in no sum.
    """
    day = _utc_day(database.dialect).label("utc_day")
    wanted = _sent_within(select(day, calls.c.model, *spent_columns()), since, until)
    if not synthetic:
        wanted = wanted.where(calls.c.synthetic.is_(False))
    wanted = wanted.where(calls.c.state.in_([CallState.ANSWERED.value, CallState.UNKNOWN.value]))
    rows = database.read(lambda connection: connection.execute(wanted.group_by("utc_day", calls.c.model)).all())
    found: dict[Where, Booked] = {}
    for row in rows:
        sums = spent(row)
        where = row.utc_day, same_model(row.model)
        before = found.get(where, Booked())  # an alias and an id of the same model are one
        found[where] = Booked(
            calls=before.calls + sums.calls,
            usage=Usage(**{kind: getattr(before.usage, kind) + getattr(sums.usage, kind) for kind in USAGE}),
            cost_nanousd=before.cost_nanousd + sums.cost_nanousd,
            unknown_calls=before.unknown_calls + sums.unknown_calls,
            unknown_estimate_nanousd=before.unknown_estimate_nanousd + sums.unknown_estimate_nanousd,
            synthetic_calls=before.synthetic_calls + sums.synthetic_calls,
        )
    return found


def answered_calls(database: Database, *, since: str | None, until: str | None) -> Iterator[BookedCall]:
    """The answered calls of these days of UTC, read a chunk at a time, in the order of their ids."""
    after = ""
    while rows := database.read(partial(_answered_after, after=after, since=since, until=until)):
        for row in rows:
            usage = Usage(**{kind: row[f"{kind}_tokens"] for kind in USAGE})
            yield BookedCall(row["id"], row["request_id"] or "", usage, row["cost_nanousd"])
        after = rows[-1]["id"]


def _answered_after(connection: Connection, after: str, since: str | None, until: str | None) -> list[Any]:
    columns = [calls.c.id, calls.c.request_id, calls.c.cost_nanousd, *(calls.c[f"{kind}_tokens"] for kind in USAGE)]
    wanted = _sent_within(select(*columns), since, until)
    wanted = wanted.where(calls.c.state == CallState.ANSWERED.value, calls.c.id > after)
    return list(connection.execute(wanted.order_by(calls.c.id).limit(CHUNK)).mappings())


def _sent_within(wanted: Select[Any], since: str | None, until: str | None) -> Select[Any]:
    if since is not None:
        wanted = wanted.where(calls.c.sent_at >= _midnight(since))
    if until is not None:
        wanted = wanted.where(calls.c.sent_at < _midnight(until) + timedelta(days=1))
    return wanted


def _midnight(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC)


def _utc_day(dialect: str) -> ColumnElement[str]:
    if dialect == "postgresql":
        return func.to_char(calls.c.sent_at, "YYYY-MM-DD")  # the session's time zone is UTC
    return func.substr(calls.c.sent_at, 1, 10)
