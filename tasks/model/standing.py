"""A queue as the ledger and the broker see it, each on its own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Standing:
    """Jobs of one queue, as the ledger has them."""

    waiting: int = 0
    """Published, and neither running nor ended."""
    running: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """Messages of one queue, as the broker has them."""

    in_line: int = 0
    """Ready, or waiting for their time."""
    unacked: int = 0
    """With a worker."""
