"""What calls cost, summed. What is not known is counted apart, with the estimate beside it; it is never zero.

What could have been paid instead is in `workers.ledger.comparing`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, literal_column, select
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
    unpriced_calls: int = 0
    """Of the unknown ones, those that were answered: nobody gave us a price for their model."""
    open_calls: int = 0
    """Sent, and not ended yet."""
    synthetic_calls: int = 0
    """Answered by the simulator: their cost was never charged."""
    failed_calls: int = 0
    """Calls that brought their job no answer, whatever they cost: refused, cut off, timed out, of no use."""
    failed_nanousd: int = 0
    """What of `cost_nanousd` those cost."""
    usage: Usage = field(default_factory=Usage)


class CostBy(StrEnum):
    """What to group costs by."""

    DAY = "day"
    """The day, in the time zone configured then, that a call was sent."""
    MODEL = "model"
    RECIPE = "recipe"
    COMPLEXITY = "complexity"
    SUBMISSION = "submission"
    """The one that created the job."""
    FAULT = "fault"
    """Why the call brought no answer; `none` where it did, or is not ended yet."""


@dataclass(frozen=True, slots=True)
class CostLine:
    """A group and what it cost."""

    group: str
    spent: Spent


NO_FAULT = "none"


def costs(database: Database, by: CostBy, *, since: str | None = None, until: str | None = None) -> list[CostLine]:
    """Costs of the calls sent on the days from `since` to `until`, both included, by group, in the groups' order."""
    group = _GROUPS[by].label("cost_group")
    wanted = within(select(group, *spent_columns()).select_from(calls), since, until)
    if by in _OF_JOB:
        wanted = wanted.join(jobs, jobs.c.id == calls.c.job_id)
    wanted = wanted.group_by(group).order_by(group)
    return database.read(
        lambda connection: [CostLine(row.cost_group, spent(row)) for row in connection.execute(wanted)]
    )


def within(wanted: Select[Any], since: str | None, until: str | None) -> Select[Any]:
    """The selection kept to the calls of these days, both included; None is without an end."""
    if since is not None:
        wanted = wanted.where(calls.c.day >= since)
    if until is not None:
        wanted = wanted.where(calls.c.day <= until)
    return wanted


def total(sums: Iterable[Spent]) -> Spent:
    """The sum of sums, field by field."""
    every = list(sums)
    usage = Usage(**{kind: sum(getattr(each.usage, kind) for each in every) for kind in USAGE})
    return Spent(usage=usage, **{name: sum(getattr(each, name) for each in every) for name in _COUNTS})


def spent_columns() -> list[ColumnElement[Any]]:
    """Columns that sum calls; `spent` reads a row of them."""
    unknown = and_(calls.c.cost_nanousd.is_(None), calls.c.state != CallState.SENT.value)
    failed = calls.c.fault.is_not(None)
    return [
        func.count().label("calls"),
        _sum(calls.c.cost_nanousd).label("cost_nanousd"),
        _sum(case((unknown, 1))).label("unknown_calls"),
        _sum(case((unknown, calls.c.estimate_nanousd))).label("unknown_estimate_nanousd"),
        _sum(case((and_(unknown, calls.c.state == CallState.ANSWERED.value), 1))).label("unpriced_calls"),
        _sum(case((calls.c.state == CallState.SENT.value, 1))).label("open_calls"),
        _sum(case((calls.c.synthetic, 1))).label("synthetic_calls"),
        _sum(case((failed, 1))).label("failed_calls"),
        _sum(case((failed, calls.c.cost_nanousd))).label("failed_nanousd"),
        *(_sum(calls.c[f"{kind}_tokens"]).label(kind) for kind in USAGE),
    ]


def spent(row: Row[Any]) -> Spent:
    """The sum in a row of `spent_columns`."""
    values = row._mapping  # noqa: SLF001 - SQLAlchemy's public name, underscored to leave columns the rest
    return Spent(
        **{name: int(values[name]) for name in _COUNTS}, usage=Usage(**{kind: int(values[kind]) for kind in USAGE})
    )


_OF_JOB = frozenset({CostBy.RECIPE, CostBy.COMPLEXITY, CostBy.SUBMISSION})
_COUNTS = tuple(each.name for each in fields(Spent) if each.name != "usage")


def _sum(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.coalesce(func.sum(column), 0)


_GROUPS: dict[CostBy, ColumnElement[str]] = {
    CostBy.DAY: calls.c.day,
    CostBy.MODEL: calls.c.model,
    CostBy.RECIPE: jobs.c.recipe,
    CostBy.COMPLEXITY: jobs.c.complexity,
    CostBy.SUBMISSION: jobs.c.submission_id,
    CostBy.FAULT: func.coalesce(calls.c.fault, literal_column(f"'{NO_FAULT}'")),
}
