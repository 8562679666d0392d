"""Budgets: set, taken away, read with what they have used, and counted anew from the calls themselves.

What calls count is kept where they are opened and ended, see `workers.ledger.tally`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from sqlalchemy import ColumnElement, Connection, and_, delete, select, true, update

from tasks.model.budget import BudgetNow, Scope
from tasks.model.call import Call
from workers.ledger.counters import Key, Limits, count, counted, lock, make, read_limits
from workers.ledger.database import Database
from workers.ledger.inserting import insert_into
from workers.ledger.tables import budget_use, budgets
from workers.ledger.tally import Tally, open_tally

LOOK_EVERY_S = 0.5
"""A worker process that writes reads the budgets so often."""
OBEYED_AFTER_S = LOOK_EVERY_S + 0.5
"""By then, every worker goes by a budget that was set."""
RECOUNT_DAYS = 2
"""Calls end, and are known better, for so long."""
_ORDER = tuple(Scope)


class Watch:
    """The budgets as one writer of the ledger goes by them: no statement a group where there are none."""

    def __init__(self) -> None:
        self._limits: Limits | None = None
        self._next_look = 0.0
        self._known: set[Key] = set()
        self._anew: set[tuple[str, str]] = set()

    def look(self, database: Database, *, patience_s: float) -> None:
        """Read the budgets, if it is time to."""
        now = time.monotonic()
        if now < self._next_look:
            return
        limits = database.read(read_limits, patience_s=patience_s)
        self._next_look = now + LOOK_EVERY_S
        before, self._limits = self._limits, limits
        if before is None or limits == before:
            return
        # Since it was set, this process has opened and ended calls that it did not count.
        changed = {budget for budget, limit in limits.items() if limit != before.get(budget)}
        self._anew |= changed
        self._known = {key for key in self._known if (key.scope, key.name) in limits and key[:2] not in changed}

    def tally(self, connection: Connection, wanted: Sequence[Call], ended: Sequence[str]) -> Tally | None:
        """For a transaction's calls, as its first step; None where there is nothing to count."""
        if not self._limits or not (wanted or ended):
            return None
        return open_tally(connection, self._limits, wanted=wanted, ended=ended, known=self._known, anew=self._anew)

    def committed(self, tally: Tally) -> None:
        """Its counters are there from now on."""
        self._known.update(tally.standing)


def set_budget(
    database: Database,
    scope: Scope,
    name: str,
    *,
    hard_nanousd: int | None,
    soft_nanousd: int | None,
    day: str,
    set_by: str,
) -> None:
    """Set a budget, or change it. It counts the calls there were, from the beginning of `day`.

    Workers go by it `OBEYED_AFTER_S` later. `name` is the recipe's, or the submission's id, and empty for the day's.
    """
    at = database.now()
    row = {
        "scope": scope.value,
        "name": name,
        "hard_nanousd": hard_nanousd,
        "soft_nanousd": soft_nanousd,
        "set_at": at,
        "set_by": set_by,
    }
    key = Key(scope.value, name, "" if scope is Scope.SUBMISSION else day)

    def write(connection: Connection) -> None:
        changed = {column: row[column] for column in ("hard_nanousd", "soft_nanousd", "set_at", "set_by")}
        connection.execute(
            insert_into(connection, budgets)
            .values(row)
            .on_conflict_do_update(index_elements=["scope", "name"], set_=changed)
        )
        _count(connection, key, read_limits(connection))
        connection.execute(update(budget_use).where(_is_of(scope, name)).values(refused_at=None))

    database.write(write)


def remove_budget(database: Database, scope: Scope, name: str) -> bool:
    """Take a budget away. False when there is none."""

    def write(connection: Connection) -> bool:
        is_it = and_(budgets.c.scope == scope.value, budgets.c.name == name)
        found = connection.execute(delete(budgets).where(is_it)).rowcount
        connection.execute(delete(budget_use).where(_is_of(scope, name)))
        return bool(found)

    return database.write(write)


def budgets_now(database: Database, day: str) -> list[BudgetNow]:
    """Every budget with what it has used on `day`, a submission's in all: the day's, recipes', submissions'."""
    return database.read(partial(read_budgets, day=day))


def read_budgets(connection: Connection, day: str) -> list[BudgetNow]:
    """See `budgets_now`."""
    is_counter = and_(
        budget_use.c.scope == budgets.c.scope,
        budget_use.c.name == budgets.c.name,
        budget_use.c.day.in_(["", day]),
    )
    wanted = select(
        *(budgets.c[name] for name in ("scope", "name", "hard_nanousd", "soft_nanousd")),
        *(budget_use.c[name] for name in ("spent_nanousd", "held_nanousd", "refused_at")),
    ).outerjoin(budget_use, is_counter)
    found = [
        BudgetNow(
            scope=row.scope,
            name=row.name,
            hard_nanousd=row.hard_nanousd,
            soft_nanousd=row.soft_nanousd,
            spent_nanousd=row.spent_nanousd or 0,  # no counter: nothing was sent yet that counts toward it
            held_nanousd=row.held_nanousd or 0,
            day="" if row.scope == Scope.SUBMISSION else day,
            refused_at=row.refused_at,
        )
        for row in connection.execute(wanted)
    ]
    return sorted(found, key=lambda budget: (_ORDER.index(Scope(budget.scope)), budget.name))


def recount(database: Database) -> int:
    """Count the counters of the last days anew whose numbers are not those of their calls; how many it were.

    None should be: this heals what a bug, or a hand in the tables, has done.
    """
    since = (database.now() - timedelta(days=RECOUNT_DAYS)).date().isoformat()
    recent = select(budget_use.c.scope, budget_use.c.name, budget_use.c.day).where(
        (budget_use.c.day == "") | (budget_use.c.day >= since)
    )
    keys = database.read(lambda connection: [Key(*row) for row in connection.execute(recent)])
    wrong = [key for key in keys if not database.read(partial(_is_right, key=key))]
    for key in wrong:
        database.write(partial(_correct, key=key))
    return len(wrong)


def _is_right(connection: Connection, key: Key) -> bool:
    sums = counted(key).subquery()
    use = select(budget_use.c.spent_nanousd - sums.c.spent, budget_use.c.held_nanousd - sums.c.held)
    use = use.select_from(budget_use).join(sums, true())
    # One statement, which sees one moment: a call and its share change together.
    found = connection.execute(use.where(_is_of(Scope(key.scope), key.name), budget_use.c.day == key.day)).first()
    return found is None or (found[0], found[1]) == (0, 0)


def _correct(connection: Connection, key: Key) -> None:
    limits = read_limits(connection)
    if (key.scope, key.name) in limits:
        _count(connection, key, limits)


def _count(connection: Connection, key: Key, limits: Limits) -> None:
    make(connection, [key])
    lock(connection, limits, [key])
    count(connection, key)


def _is_of(scope: Scope, name: str) -> ColumnElement[bool]:
    return and_(budget_use.c.scope == scope.value, budget_use.c.name == name)
