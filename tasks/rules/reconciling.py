"""The provider's bill against the ledger: by day and model, and call by call where the bill names requests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from config.prices import KINDS
from tasks.model.call import Usage
from tasks.rules.billing import BillLine, same_model

Where = tuple[str, str]
"""A day in UTC, and a model in the spelling of `same_model`."""


@dataclass(frozen=True, slots=True)
class Booked:
    """What the ledger says of a day and a model."""

    calls: int = 0
    usage: Usage = field(default_factory=Usage)
    cost_nanousd: int = 0
    """Of the calls whose cost is known."""
    unknown_calls: int = 0
    unknown_estimate_nanousd: int = 0
    """What the others would cost at most."""
    synthetic_calls: int = 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """One day and model on both sides. What the bill does not tell is None, and agrees with anything."""

    day: str
    model: str
    booked: Booked
    billed_usage: Usage | None
    billed_nanousd: int | None
    tolerance_nanousd: int
    """What was allowed, and what the bill's own rounding may come to."""

    @property
    def token_difference(self) -> Mapping[str, int]:
        """Billed less booked, by kind, where they differ."""
        if self.billed_usage is None:
            return {}
        differences = {kind: getattr(self.billed_usage, kind) - getattr(self.booked.usage, kind) for kind in KINDS}
        return {kind: count for kind, count in differences.items() if count}

    @property
    def difference_nanousd(self) -> int | None:
        """Billed less booked."""
        return None if self.billed_nanousd is None else self.billed_nanousd - self.booked.cost_nanousd

    @property
    def costs_agree(self) -> bool:
        """Whether costs differ by no more than is tolerated."""
        return self.difference_nanousd is None or abs(self.difference_nanousd) <= self.tolerance_nanousd

    @property
    def tokens_agree(self) -> bool:
        """Whether tokens of each kind are as many: nothing is tolerated."""
        return not self.token_difference

    @property
    def agrees(self) -> bool:
        """Whether both do."""
        return self.costs_agree and self.tokens_agree

    @property
    def unknown_may_explain(self) -> bool:
        """Whether more was billed than booked, and no more than the calls of unknown cost may have cost."""
        if self.agrees or not self.booked.unknown_calls:
            return False
        most = self.booked.unknown_estimate_nanousd + self.tolerance_nanousd
        is_in_costs = self.costs_agree or 0 < (self.difference_nanousd or 0) <= most
        return is_in_costs and all(count > 0 for count in self.token_difference.values())


def compare(bill: Iterable[BillLine], booked: Mapping[Where, Booked], tolerance_nanousd: int = 0) -> list[Comparison]:
    """Every day and model that either side has, in order. `booked` covers the bill's days and no others."""
    lines: dict[Where, list[BillLine]] = defaultdict(list)
    for line in bill:
        lines[line.day, same_model(line.model)].append(line)
    tells_tokens = any(line.usage for of_one in lines.values() for line in of_one)
    tells_cost = not lines or any(line.cost_nanousd is not None for of_one in lines.values() for line in of_one)
    found = []
    for where in sorted(lines.keys() | booked.keys()):
        own = lines.get(where, [])
        rounding = sum(line.rounding_nanousd for line in own)
        found.append(
            Comparison(
                *where,
                booked=booked.get(where, Booked()),
                billed_usage=_sum(line.usage for line in own) if tells_tokens else None,
                billed_nanousd=sum(line.cost_nanousd or 0 for line in own) if tells_cost else None,
                tolerance_nanousd=tolerance_nanousd + rounding,
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class BookedCall:
    """An answered call."""

    id: str
    request_id: str
    usage: Usage
    cost_nanousd: int | None


@dataclass(frozen=True, slots=True)
class Requests:
    """The two sides call by call."""

    equal: int
    """Billed as they are booked, tokens and cost."""
    different: Sequence[tuple[BillLine, BookedCall]]
    unbooked: Sequence[BillLine]
    """Charged for, but no answer of theirs is in the ledger: cut off, timed out, lost with a worker, or not ours."""
    unbilled: Sequence[BookedCall]
    """Answers that the bill knows nothing of."""


def compare_requests(bill: Iterable[BillLine], answered: Iterable[BookedCall]) -> Requests:
    """Match requests by their ids. A call answered without an id counts as not billed."""
    charged = {line.request_id: line for line in bill if line.request_id is not None}
    equal, different, unbilled = 0, [], []
    for call in answered:
        line = charged.pop(call.request_id, None)
        if line is None:
            unbilled.append(call)
        elif _is_same(line, call):
            equal += 1
        else:
            different.append((line, call))
    return Requests(equal, different, list(charged.values()), unbilled)


def _is_same(line: BillLine, call: BookedCall) -> bool:
    same_tokens = line.usage is None or all(getattr(line.usage, kind) == getattr(call.usage, kind) for kind in KINDS)
    return same_tokens and line.cost_nanousd == call.cost_nanousd


def _sum(usages: Iterable[Usage | None]) -> Usage:
    every = [usage for usage in usages if usage is not None]
    return Usage(**{kind: sum(getattr(usage, kind) for usage in every) for kind in KINDS})
