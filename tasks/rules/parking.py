"""Which lanes a fault stops, and when a lane of its own accord had better rest.

Decides only; `workers.lanes` keeps the pauses.
"""

from __future__ import annotations

from collections.abc import Collection

from config.catalogue import Catalogue
from tasks.model.fault import Blocked, Fault, UnknownModel

STORM_CALLS = 20
"""The last calls to a model that are looked at."""


def stopped_lanes(fault: Fault, model: str, catalogue: Catalogue) -> tuple[str, ...] | None:
    """Queues that had better not send to Claude after `fault` met a call to `model`; None for every queue.

    What concerns the key, such as its money, stops them all. What concerns a model stops the lanes routed to it: none
    where a submitter asked for a model that no lane is routed to.
    """
    if isinstance(fault, Blocked) and not isinstance(fault, UnknownModel):
        return None
    return tuple(
        catalogue.lanes[complexity].queue for complexity, routed in catalogue.routes.items() if routed == model
    )


def is_storm(overloaded: Collection[bool]) -> bool:
    """Whether more than half of the last `STORM_CALLS` calls, given whole, found Claude overloaded."""
    return len(overloaded) >= STORM_CALLS and 2 * sum(overloaded) > len(overloaded)
