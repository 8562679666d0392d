"""How many jobs of each lane this process holds: no more than its part of the limits needs, and half in a storm.

So a backlog waits in its lane, where any worker can take it, and not in slots. The numbers come from
`tasks.rules`; `workers.transport` goes by them at the next claim.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from config.catalogue import Catalogue
from tasks.rules.limiting import steered
from tasks.rules.parking import halved, recovered
from workers.transport import LaneLimits


class Slots:
    """Sets the limits of lanes whose jobs are routed to one class of models. Used on one event loop."""

    def __init__(self, limits: LaneLimits, catalogue: Catalogue, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._most = {lane.queue: lane.concurrency for lane in catalogue.lanes.values()}
        self._of_class: dict[str, list[str]] = {}
        self._of_model: dict[str, list[str]] = {}
        for complexity, model in catalogue.routes.items():
            queue = catalogue.lanes[complexity].queue
            self._of_class.setdefault(catalogue.limit_class(model), []).append(queue)
            self._of_model.setdefault(model, []).append(queue)
        self._suited = dict(self._most)
        self._calm = {lane: (concurrency, 0.0) for lane, concurrency in self._most.items()}

    def suit(self, limit_class: str, needed: float) -> None:
        """Hold so many jobs of the lanes of this class, each at most its own number."""
        for lane in self._of_class.get(limit_class, ()):
            self._suited[lane] = steered(self._suited[lane], needed, self._most[lane])
            self._set(lane)

    def halve(self, model: str) -> None:
        """A storm: half of what the model's lanes hold now. It comes back step by step."""
        for lane in self._of_model.get(model, ()):
            self._calm[lane] = (halved(self._now(lane)), self._clock())
            self._set(lane)

    def recover(self) -> None:
        """Take the steps that are due since the last storm."""
        for lane, (slots, since) in self._calm.items():
            if slots < self._most[lane]:
                self._calm[lane] = recovered(slots, self._most[lane], since, self._clock())
                self._set(lane)

    def _now(self, lane: str) -> int:
        return min(self._suited[lane], self._calm[lane][0])

    def _set(self, lane: str) -> None:
        self._limits.set(lane, self._now(lane))
