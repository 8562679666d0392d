"""What budgets have used, kept in the transactions that open and end calls.

Such a transaction begins with a `Tally`, which locks the counters that its calls count toward: in one order, and before
it touches any other row, so that no two wait for each other in a ring. Whether there is room is decided in
`tasks.rules.budget`; the counters' rows are `workers.ledger.counters`'.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, select, update

from tasks.model.budget import BudgetNow, Scope, Share
from tasks.model.call import Call, CallState
from tasks.model.fault import OverBudget
from tasks.rules.budget import refusal, share_of
from workers.ledger.counters import Key, Limits, count, is_one_of, lock, make
from workers.ledger.many import Given, Many, Statement
from workers.ledger.steps import ID, word
from workers.ledger.tables import BigInt, budget_use, calls, jobs


@dataclass(frozen=True, slots=True)
class Place:
    """What a call counts toward."""

    day: str
    recipe: str
    submission_id: str

    def keys(self, limits: Limits) -> Iterator[Key]:
        """Its counters, of those budgets that there are."""
        for key in (
            Key(Scope.DAY.value, "", self.day),
            Key(Scope.RECIPE.value, self.recipe, self.day),
            Key(Scope.SUBMISSION.value, self.submission_id, ""),
        ):
            if (key.scope, key.name) in limits:
                yield key


class Booked(NamedTuple):
    """A call as its row says."""

    id: str
    state: str
    held_nanousd: int | None
    estimate_nanousd: int | None
    cost_nanousd: int | None
    day: str
    recipe: str
    submission_id: str

    @property
    def place(self) -> Place:
        """What it counts toward."""
        return Place(self.day, self.recipe, self.submission_id)

    @property
    def share(self) -> Share:
        """What it counts."""
        return share_of(
            self.state,
            held_nanousd=self.held_nanousd,
            estimate_nanousd=self.estimate_nanousd,
            cost_nanousd=self.cost_nanousd,
        )


@dataclass(slots=True)
class Tally:
    """Counters, locked from a transaction's beginning to its end. Made by `open_tally`; `write` ends its work."""

    limits: Limits
    standing: dict[Key, BudgetNow]
    """The counters that are there, as they were when they were locked."""
    places: Mapping[str, Place]
    """Of the calls that are about to go out, by id."""
    refused: dict[str, OverBudget] = field(default_factory=dict)
    """Why some of them may not, by id."""
    _changes: defaultdict[Key, Share] = field(default_factory=lambda: defaultdict(Share))
    _full: set[Key] = field(default_factory=set)

    def admit(self, connection: Connection, wanted: Sequence[Call]) -> set[str]:
        """Hold what these calls are likely to cost; the ids of those that may go out. The others are in `refused`."""
        # Where the answer to this transaction's commit was lost, it has opened them before, and counted them.
        admitted = {row.id for row in booked(connection, [call.id for call in wanted])}
        for call in wanted:
            if call.id not in admitted and self._has_room(call):
                admitted.add(call.id)
                self._add(self.places[call.id], Share(held_nanousd=call.held_nanousd or 0))
        return admitted

    def end(self, connection: Connection, ends: Sequence[Mapping[str, Any]]) -> None:
        """Count the ends of calls, given as the rows that `steps.END_CALL` is about to be run for."""
        found = {row.id: row for row in booked(connection, [end["id"] for end in ends])}
        for end in ends:
            before = found.get(end["id"])
            if before is not None and before.state in OPEN:
                after = before._replace(state=end["state"], cost_nanousd=end["cost_nanousd"])
                self._add(before.place, after.share - before.share)
                found[before.id] = after

    def lose(self, lost: Iterable[Booked]) -> None:
        """Count open calls as unknown: the most they can cost is spent, until it is known better."""
        for before in lost:
            after = before._replace(state=CallState.UNKNOWN.value, cost_nanousd=None)
            self._add(before.place, after.share - before.share)

    def write(self, connection: Connection, at: datetime) -> None:
        """Write what has changed."""
        changes = [(key, change) for key, change in sorted(self._changes.items()) if change != Share()]
        _ADD.run(
            connection,
            [{**key._asdict(), "spent": by.spent_nanousd, "held": by.held_nanousd} for key, by in changes],
        )
        if self._full:
            connection.execute(update(budget_use).where(is_one_of(self._full)).values(refused_at=at))

    def _has_room(self, call: Call) -> bool:
        for key in self.places[call.id].keys(self.limits):
            fault = refusal(self._now(key), call.estimate_nanousd) if key in self.standing else None
            if fault is not None:
                self.refused[call.id] = fault
                if fault.retry_after_s is None:
                    self._full.add(key)
                return False
        return True

    def _now(self, key: Key) -> BudgetNow:
        before, by = self.standing[key], self._changes[key]
        return replace(
            before,
            spent_nanousd=before.spent_nanousd + by.spent_nanousd,
            held_nanousd=before.held_nanousd + by.held_nanousd,
        )

    def _add(self, place: Place, share: Share) -> None:
        for key in place.keys(self.limits):
            if key in self.standing:  # else the budget was taken away just now
                self._changes[key] += share


def open_tally(
    connection: Connection,
    limits: Limits,
    *,
    wanted: Sequence[Call] = (),
    ended: Collection[str] = (),
    known: Collection[Key] = (),
    anew: Collection[tuple[str, str]] = (),
) -> Tally:
    """Lock the counters of calls that are about to be opened or ended. The first thing that a transaction does.

    Args:
        connection: In a transaction.
        limits: Every budget there is.
        wanted: Calls about to be opened.
        ended: Ids of calls about to be ended.
        known: Counters that are there; others are made, and count the calls there were.
        anew: Budgets, by scope and name, whose counters may have missed something: counted anew unless they are known.
    """
    if not limits:
        return Tally(limits, {}, {})
    places = _places(connection, wanted)
    found = [row.place for row in booked(connection, ended)]
    keys = {key for place in (*places.values(), *found) for key in place.keys(limits)}
    made = make(connection, sorted(keys.difference(known)))
    standing = lock(connection, limits, keys)
    for key in sorted(standing):
        if key in made or (key not in known and (key.scope, key.name) in anew):
            count(connection, key)
            made.add(key)
    return Tally(limits, lock(connection, limits, keys) if made else standing, places)


def booked(connection: Connection, call_ids: Iterable[str]) -> list[Booked]:
    """These calls, as far as the ledger knows them."""
    return [Booked(*row) for row in _BOOKED.run(connection, [{"id": each} for each in call_ids])]


def open_calls_of(connection: Connection, job_ids: Iterable[str]) -> list[Booked]:
    """The calls of these jobs that were sent and have no end."""
    return [Booked(*row) for row in _SENT_OF_JOB.run(connection, [{"id": each} for each in job_ids])]


def _places(connection: Connection, wanted: Sequence[Call]) -> dict[str, Place]:
    rows = _PLACE_OF_JOB.run(connection, [{"id": job_id} for job_id in {call.job_id for call in wanted}])
    found = {job_id: (recipe, submission_id) for job_id, recipe, submission_id in rows}
    return {call.id: Place(call.day, *found[call.job_id]) for call in wanted if call.job_id in found}


def _add_to(given: Given) -> Statement:
    return (
        update(budget_use)
        .where(
            budget_use.c.scope == given["scope"],
            budget_use.c.name == given["name"],
            budget_use.c.day == given["day"],
        )
        .values(
            spent_nanousd=budget_use.c.spent_nanousd + given["spent"],
            held_nanousd=budget_use.c.held_nanousd + given["held"],
        )
    )


OPEN = frozenset({CallState.SENT.value, CallState.UNKNOWN.value})
"""What `steps.END_CALL` may end."""
_OF_BOOKED = (
    *(calls.c[name] for name in ("id", "state", "held_nanousd", "estimate_nanousd", "cost_nanousd", "day")),
    jobs.c.recipe,
    jobs.c.submission_id,
)
_WITH_JOB = select(*_OF_BOOKED).join(jobs, jobs.c.id == calls.c.job_id)
_BOOKED = Many(lambda given: _WITH_JOB.where(calls.c.id == given["id"]), {"id": ID})
_SENT_OF_JOB = Many(
    lambda given: _WITH_JOB.where(calls.c.job_id == given["id"], calls.c.state == word(CallState.SENT)), {"id": ID}
)
_PLACE_OF_JOB = Many(
    lambda given: select(jobs.c.id, jobs.c.recipe, jobs.c.submission_id).where(jobs.c.id == given["id"]), {"id": ID}
)
_ADD = Many(_add_to, {"scope": ID, "name": ID, "day": ID, "spent": BigInt, "held": BigInt})
