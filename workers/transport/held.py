"""What one process holds: messages that Redis lists as unacked under this process's name.

Counting only. It outlives the channel that claimed them, so that after a lost connection the next channel goes on
where the last one stopped; `channel` does the talking.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from workers.transport.keys import lane_of

if TYPE_CHECKING:
    from workers.transport.channel import Channel


class Rejection(NamedTuple):
    """A message given back: to its lane, or to quarantine with the reason why it can never run."""

    tag: str
    requeue: bool
    reason: str


class Held:
    """Delivery tags held, how many from each lane, and what Redis was not yet told about them.

    `channel` is the one that speaks for them now; None while there is no connection.
    """

    def __init__(self) -> None:
        self.owner = secrets.token_hex(6)
        self.channel: Channel | None = None
        self.tags: set[str] = set()
        self.by_lane: Counter[str] = Counter()
        self.acked: list[str] = []
        self.rejected: list[Rejection] = []
        self.reasons: dict[str, str] = {}
        self._tickets = 0

    def __len__(self) -> int:
        return len(self.tags)

    def next_ticket(self) -> str:
        """Beginning of the tags of one claim; no two claims anywhere share it."""
        self._tickets += 1
        return f"{self.owner}-{self._tickets}-"

    def is_ours(self, tag: str) -> bool:
        """True of a tag that this process claimed, be it held or not."""
        return tag.rpartition("/")[2].startswith(f"{self.owner}-")

    def add(self, tags: Iterable[str]) -> None:
        """Hold these from now on."""
        for tag in tags:
            self.tags.add(tag)
            self.by_lane[lane_of(tag)] += 1

    def settle(self, tags: Iterable[str]) -> None:
        """Redis knows the outcome of these: their room is free again. Tags not held are ignored."""
        for tag in tags:
            if tag in self.tags:
                self.tags.remove(tag)
                self.by_lane[lane_of(tag)] -= 1
