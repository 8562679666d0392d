"""Where things are in Redis, in kombu's layout where kombu has one.

Pure names. `channel` and the Lua scripts decide what is put there.
"""

from __future__ import annotations

import json
from bisect import bisect
from dataclasses import dataclass


@dataclass(frozen=True)
class Keys:
    """Names of the Redis keys of one broker. The defaults are kombu's.

    `steps` are the priorities that have a list of their own, each 0 to 9, 0 the most urgent.
    """

    prefix: str = ""
    sep: str = "\x06\x16"
    steps: tuple[int, ...] = (0, 3, 6, 9)
    unacked_name: str = "unacked"
    unacked_index_name: str = "unacked_index"

    def __post_init__(self) -> None:
        if self.steps != tuple(sorted(set(self.steps))) or not set(self.steps) <= set(range(10)) or 0 not in self.steps:
            raise ValueError(f"priority_steps {list(self.steps)}: give ascending numbers from 0 to 9, 0 among them")

    @property
    def unacked(self) -> str:
        """Hash: delivery tag -> JSON of [message, exchange, routing key]."""
        return self.prefix + self.unacked_name

    @property
    def unacked_index(self) -> str:
        """Sorted set: delivery tag, scored by when its holder last vouched for it."""
        return self.prefix + self.unacked_index_name

    @property
    def quarantine(self) -> str:
        """Hash: id -> why and from where as one line of JSON, then the message as it was found."""
        return self.prefix + "quarantine"

    @property
    def line(self) -> str:
        """Sorted set: lane in whose line something waits in the ledger, scored by when it can be fed; see `bell`."""
        return self.prefix + "line"

    @property
    def feeder(self) -> str:
        """Which worker process feeds, for as long as it does."""
        return self.prefix + "feeder"

    def step(self, priority: int) -> int:
        """The step whose list takes messages of `priority` (0 to 9)."""
        return self.steps[bisect(self.steps, priority) - 1]

    def ready(self, lane: str, step: int) -> str:
        """List of the messages of one priority step, the oldest at its right end."""
        return f"{self.prefix}{lane}{self.sep}{step}" if step else self.prefix + lane

    def delayed(self, lane: str) -> str:
        """Sorted set: step digit + message, scored by the second it is due (server clock)."""
        return f"{self.prefix}delayed:{lane}"

    def wake(self, name: str) -> str:
        """Sorted set of at most one member, there when a waiting worker should look at its lanes."""
        return f"{self.prefix}wake:{name}"

    def paused(self, lane: str) -> str:
        """Hash that is there while a lane is paused or half open; see `pauses`."""
        return f"{self.prefix}paused:{lane}"

    def of_lane(self, lane: str) -> list[str]:
        """All keys of one lane in the order `claim.lua` takes them."""
        return [
            self.delayed(lane),
            self.wake(lane),
            self.paused(lane),
            *(self.ready(lane, step) for step in self.steps),
        ]


def lane_of(tag: str) -> str:
    """The lane a message was claimed from; "" for a delivery tag of stock kombu, which does not say."""
    return tag.rpartition("/")[0]


def unwrap(entry: bytes, lane: str) -> bytes:
    """The message as it lay in its list, out of the entry that `claim.lua` wrote to the unacked hash."""
    return entry[1 : -len(f', "", {json.dumps(lane)}]'.encode())]
