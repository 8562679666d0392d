"""A submission's estimate, as it was kept, beside what its calls really cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tasks.rules.estimating import Range
from tasks.rules.pricing import dollars

if TYPE_CHECKING:
    from workers.ledger import Spent


def compared(estimate: Mapping[str, Any] | None, spent: Spent, *, finished: bool) -> str | None:
    """Both in a line; None where the submission has no estimate, or had nothing to pay for."""
    share = _share(estimate, spent)
    if estimate is None or share is None:
        return None
    expected = Range(**estimate["cost_nanousd"])
    so_far = "" if finished else " so far"
    known = "known cost" if spent.unknown_calls else "cost"
    return f"{dollars(expected.likely)} ({from_to(expected)}): the {known} is {share:.0%} of it{so_far}"


def estimate_fields(estimate: Mapping[str, Any] | None, spent: Spent) -> dict[str, Any]:
    """Both for a program. `cost_of_estimate` is the known cost as a share of the likely one."""
    return {"estimate": estimate, "cost_of_estimate": _share(estimate, spent)}


def from_to(cost: Range) -> str:
    """The range of a cost."""
    return f"{dollars(cost.low)} to {dollars(cost.high)}"


def _share(estimate: Mapping[str, Any] | None, spent: Spent) -> float | None:
    likely = ((estimate or {}).get("cost_nanousd") or {}).get("likely")
    return round(spent.cost_nanousd / likely, 4) if likely else None
