"""Budgets that keep jobs waiting, told to a person who waits for answers."""

from __future__ import annotations

import time

from config.settings import Settings
from scripts.commands.shared import terminal
from tasks.model.budget import Scope
from tasks.rules.budget import is_exhausted, named
from tasks.rules.days import day_of
from tasks.rules.pricing import dollars
from workers.ledger import Database, budgets_now

LOOK_EVERY_S = 2.0


class BudgetNotes:
    """Says on stderr which budgets keep jobs back, each once. Used up, the day's stops lanes: see `PauseNotes`."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._zone, self._database = settings.time_zone, database
        self._said: set[tuple[str, str, int | None]] = set()
        self._next_look = 0.0

    def look(self) -> None:
        """Look, if some time has passed since the last one. Raises `LedgerError`."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_EVERY_S
        for budget in budgets_now(self._database, day_of(self._database.now(), self._zone)):
            key = (budget.scope, budget.name, budget.hard_nanousd)
            stops_lanes = budget.scope == Scope.DAY and is_exhausted(budget)
            if budget.refused_at is None or stops_lanes or key in self._said:
                continue
            self._said.add(key)
            used = f"{dollars(budget.spent_nanousd)} of {dollars(budget.hard_nanousd or 0)} spent"
            room = "no room" if is_exhausted(budget) else "too little room for some calls"
            terminal.note(f"budget of {named(*key[:2])} has {room}: {used}; jobs wait and lose nothing", "yellow")
            allow = f"docmill budget set {' '.join(filter(None, key[:2]))} --hard DOLLARS"
            terminal.note(f"→ {allow}; and where a model has no price, give it one: docmill doctor", "yellow")
