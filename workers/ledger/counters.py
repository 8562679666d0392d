"""The counters of budgets: one row for each budget and day, locked in one order, counted from the calls themselves.

What calls change in them is in `workers.ledger.tally`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, case, func, select, tuple_, update

from tasks.model.budget import BudgetNow, Scope
from tasks.model.call import CallState
from workers.ledger.inserting import insert_into
from workers.ledger.steps import word
from workers.ledger.tables import budget_use, budgets, calls, jobs


class Key(NamedTuple):
    """A counter: of a budget, on a day or, with an empty day, in all."""

    scope: str
    name: str
    day: str


@dataclass(frozen=True, slots=True)
class Limit:
    """A row of `budgets`."""

    hard_nanousd: int | None
    soft_nanousd: int | None
    set_at: datetime


Limits = Mapping[tuple[str, str], Limit]
"""Every budget, by scope and name."""


def read_limits(connection: Connection) -> Limits:
    """Every budget."""
    wanted = select(budgets.c.scope, budgets.c.name, budgets.c.hard_nanousd, budgets.c.soft_nanousd, budgets.c.set_at)
    return {(row[0], row[1]): Limit(*row[2:]) for row in connection.execute(wanted)}


def count(connection: Connection, key: Key) -> None:
    """Count a counter's calls anew. Its row has to be locked."""
    share = connection.execute(counted(key)).one()
    use = {"spent_nanousd": int(share.spent), "held_nanousd": int(share.held)}
    connection.execute(update(budget_use).where(is_one_of([key])).values(use))


def counted(key: Key) -> Select[Any]:
    """`spent` and `held` of all calls that count toward a counter: what `share_of` says of each, summed."""
    is_open = calls.c.state == word(CallState.SENT)
    known = func.coalesce(calls.c.cost_nanousd, calls.c.estimate_nanousd, 0)
    sums = select(
        func.coalesce(func.sum(case((is_open, 0), else_=known)), 0).label("spent"),
        func.coalesce(func.sum(case((is_open, func.coalesce(calls.c.held_nanousd, 0)), else_=0)), 0).label("held"),
    ).select_from(calls)
    match key.scope:
        case Scope.DAY:
            return sums.where(calls.c.day == key.day)
        case Scope.RECIPE:
            of_recipe = sums.join(jobs, jobs.c.id == calls.c.job_id).where(jobs.c.recipe == key.name)
            return of_recipe.where(calls.c.day == key.day)
        case _:
            return sums.join(jobs, jobs.c.id == calls.c.job_id).where(jobs.c.submission_id == key.name)


def make(connection: Connection, keys: Sequence[Key]) -> set[Key]:
    """Make the counters that are not there; those it made. One by one in order, so that two wait in no ring."""
    made = set()
    for key in keys:
        row = {**key._asdict(), "spent_nanousd": 0, "held_nanousd": 0}
        statement = (
            insert_into(connection, budget_use).values(row).on_conflict_do_nothing().returning(budget_use.c.scope)
        )
        if connection.execute(statement).first() is not None:
            made.add(key)
    return made


def lock(connection: Connection, limits: Limits, keys: Collection[Key]) -> dict[Key, BudgetNow]:
    """Those of these counters that are there, nobody else's to change until the transaction ends."""
    columns = ("scope", "name", "day", "spent_nanousd", "held_nanousd", "refused_at")
    wanted = select(*(budget_use.c[name] for name in columns)).where(is_one_of(keys))
    in_order = wanted.order_by(budget_use.c.scope, budget_use.c.name, budget_use.c.day).with_for_update()
    return {
        Key(row.scope, row.name, row.day): BudgetNow(
            **row._mapping,  # noqa: SLF001 - SQLAlchemy's public name
            hard_nanousd=limits[row.scope, row.name].hard_nanousd,
            soft_nanousd=limits[row.scope, row.name].soft_nanousd,
        )
        for row in (connection.execute(in_order) if keys else ())
    }


def is_one_of(keys: Collection[Key]) -> ColumnElement[bool]:
    """Whether a row of `budget_use` is one of these counters."""
    return tuple_(budget_use.c.scope, budget_use.c.name, budget_use.c.day).in_([tuple(key) for key in keys])
