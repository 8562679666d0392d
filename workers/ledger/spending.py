"""What calls cost, summed. What is not known is counted apart, with the estimate beside it; it is never zero."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, select
from sqlalchemy.engine import Row

from tasks.model.call import CallState, Usage
from workers.ledger.database import Database
from workers.ledger.steps import USAGE
from workers.ledger.tables import calls, jobs


@dataclass(frozen=True, slots=True)
class Spent:
    """A sum over calls. `cost_nanousd` leaves out the calls whose cost is not known."""

    calls: int = 0
    cost_nanousd: int = 0
    unknown_calls: int = 0
    """Ended calls without a known cost: possibly billed, or of a model without a price."""
    unknown_estimate_nanousd: int = 0
    """What those would cost at most, as far as there is an estimate."""
    open_calls: int = 0
    """Sent, and not ended yet."""
    synthetic_calls: int = 0
    """Answered by the simulator: their cost was never charged."""
    usage: Usage = field(default_factory=Usage)


class CostBy(StrEnum):
    """What to group costs by."""

    DAY = "day"
    """The day, in UTC, that a call was sent."""
    MODEL = "model"
    RECIPE = "recipe"
    COMPLEXITY = "complexity"
    SUBMISSION = "submission"
    """The one that created the job."""


@dataclass(frozen=True, slots=True)
class CostLine:
    """A group and what it cost."""

    group: str
    spent: Spent


def costs(
    database: Database, by: CostBy, *, since: datetime | None = None, until: datetime | None = None
) -> list[CostLine]:
    """Costs of the calls sent from `since` on and before `until`, by group, in the groups' order."""
    group = _group(by, database.dialect).label("cost_group")
    wanted = select(group, *spent_columns()).select_from(calls)
    if by in {CostBy.RECIPE, CostBy.COMPLEXITY, CostBy.SUBMISSION}:
        wanted = wanted.join(jobs, jobs.c.id == calls.c.job_id)
    if since is not None:
        wanted = wanted.where(calls.c.sent_at >= since)
    if until is not None:
        wanted = wanted.where(calls.c.sent_at < until)
    wanted = wanted.group_by(group).order_by(group)
    return database.read(
        lambda connection: [CostLine(row.cost_group, spent(row)) for row in connection.execute(wanted)]
    )


def spent_columns() -> list[ColumnElement[Any]]:
    """Columns that sum calls; `spent` reads a row of them."""
    unknown = and_(calls.c.cost_nanousd.is_(None), calls.c.state != CallState.SENT.value)
    return [
        func.count().label("calls"),
        _sum(calls.c.cost_nanousd).label("cost_nanousd"),
        _sum(case((unknown, 1))).label("unknown_calls"),
        _sum(case((unknown, calls.c.estimate_nanousd))).label("unknown_estimate_nanousd"),
        _sum(case((calls.c.state == CallState.SENT.value, 1))).label("open_calls"),
        _sum(case((calls.c.synthetic, 1))).label("synthetic_calls"),
        *(_sum(calls.c[f"{kind}_tokens"]).label(kind) for kind in USAGE),
    ]


def spent(row: Row[Any]) -> Spent:
    """The sum in a row of `spent_columns`."""
    values = row._mapping  # noqa: SLF001 - SQLAlchemy's public name, underscored to leave columns the rest
    return Spent(
        calls=values["calls"],
        cost_nanousd=int(values["cost_nanousd"]),
        unknown_calls=int(values["unknown_calls"]),
        unknown_estimate_nanousd=int(values["unknown_estimate_nanousd"]),
        open_calls=int(values["open_calls"]),
        synthetic_calls=int(values["synthetic_calls"]),
        usage=Usage(**{kind: int(values[kind]) for kind in USAGE}),
    )


def _sum(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.coalesce(func.sum(column), 0)


def _group(by: CostBy, dialect: str) -> ColumnElement[Any]:
    match by:
        case CostBy.DAY if dialect == "postgresql":
            return func.to_char(calls.c.sent_at, "YYYY-MM-DD")  # the session's time zone is UTC
        case CostBy.DAY:
            return func.substr(calls.c.sent_at, 1, 10)
        case CostBy.MODEL:
            return calls.c.model
        case CostBy.RECIPE:
            return jobs.c.recipe
        case CostBy.COMPLEXITY:
            return jobs.c.complexity
        case CostBy.SUBMISSION:
            return jobs.c.submission_id
