"""Which lanes a fault stops, and when a lane of its own accord had better rest.

Decides only; `workers.lanes` keeps the pauses.
"""

from __future__ import annotations

from collections.abc import Collection

from config.catalogue import Catalogue
from tasks.model.fault import Blocked, Fault, OverBudget, UnknownModel
from tasks.rules import budget

STORM_CALLS = 20
"""The last calls to a model that are looked at."""
STORM_PAUSE_S = 5.0
"""Least rest after a storm, and as much again by chance: processes that saw it together do not come back together."""
STEP_EVERY_S = 5.0
STEPS = 10
"""So many steps of a lane's whole number bring it back."""


def stopped_lanes(fault: Fault, model: str, catalogue: Catalogue) -> tuple[str, ...] | None:
    """Queues that had better not send to Claude after `fault` met a call to `model`; None for every queue.

    What concerns the key, such as its money, stops them all, and so does the day's budget; where another budget has no
    room, only its jobs wait. What concerns a model stops the lanes routed to it: none where a submitter asked for a
    model that no lane is routed to.
    """
    if isinstance(fault, OverBudget) and not budget.stops_all(fault):
        return ()
    if isinstance(fault, Blocked) and not isinstance(fault, UnknownModel):
        return None
    return tuple(
        catalogue.lanes[complexity].queue for complexity, routed in catalogue.routes.items() if routed == model
    )


def is_storm(overloaded: Collection[bool]) -> bool:
    """Whether more than half of the last `STORM_CALLS` calls, given whole, found Claude overloaded."""
    return len(overloaded) >= STORM_CALLS and 2 * sum(overloaded) > len(overloaded)


def storm_pause_s(retry_after_s: float | None, draw: float) -> float:
    """How long a lane rests after a storm; never less than the server asked."""
    return max(STORM_PAUSE_S, retry_after_s or 0.0) + STORM_PAUSE_S * draw


def halved(slots: int) -> int:
    """Calls at once after a storm."""
    return max(1, slots // 2)


def recovered(slots: int, most: int, since: float, now: float) -> tuple[int, float]:
    """(calls at once, and since when) of a lane that has been calm since then: a step for each `STEP_EVERY_S`."""
    steps = int((now - since) // STEP_EVERY_S)
    return min(most, slots + steps * max(1, most // STEPS)), since + steps * STEP_EVERY_S
