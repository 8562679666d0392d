"""A queue as the ledger and the broker see it, each on its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """Jobs of one queue, as the ledger has them."""

    waiting: int = 0
    """Published, and neither running nor ended."""
    running: int = 0
    unpublished: int = 0
    """In the lane's line, of which the broker knows nothing yet."""


@dataclass(frozen=True, slots=True)
class Held:
    """Messages of one queue, as the broker has them."""

    in_line: int = 0
    """Ready, or waiting for their time."""
    unacked: int = 0
    """With a worker."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why and since when a lane is paused."""

    fault: str
    """Kind of the fault that stopped it; "" for a person's pause."""
    reason: str
    since: datetime
