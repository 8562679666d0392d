"""A day's money: what its calls sum to, and by what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto


@dataclass(frozen=True, slots=True)
class Total:
    """A sum over calls. `cost_nanousd` leaves out the calls whose cost is not known."""

    calls: int = 0
    cost_nanousd: int = 0
    unknown_calls: int = 0
    """Ended calls without a known cost."""
    unknown_estimate_nanousd: int = 0
    """What those would cost at most, as far as there is an estimate."""

    def __add__(self, other: Total) -> Total:
        return Total(
            self.calls + other.calls,
            self.cost_nanousd + other.cost_nanousd,
            self.unknown_calls + other.unknown_calls,
            self.unknown_estimate_nanousd + other.unknown_estimate_nanousd,
        )


@dataclass(frozen=True, slots=True)
class Count:
    """The calls of one day, counted at one moment."""

    day: str
    counted_at: datetime
    total: Total = field(default_factory=Total)
    by: Mapping[str, Mapping[str, Total]] = field(default_factory=dict)
    """Groups by `model`, `complexity`, `recipe`, and `failed`: calls that met a fault, by its kind."""
    unpriced: Mapping[str, int] = field(default_factory=dict)
    """Answered calls by model, where the model has no price."""
    open_calls: int = 0
    """Sent, and not ended yet."""
    uncertain_calls: int = 0
    """Ended, and may yet be known better: an answer may lie on the disk of a machine that is down."""
    synthetic_calls: int = 0
    """Answered by the simulator: never charged."""
    open: tuple[str, ...] = ()
    """Ids of open calls, the oldest first, a few at most."""


@dataclass(frozen=True, slots=True)
class ClosedDay:
    """An ended day as it was closed."""

    day: str
    total: Total
    synthetic_calls: int = 0
    corrections: int = 0
    """Times its closing was corrected, by calls that became known later."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What the ledger knows of jobs that do not get on."""

    dead_letters: int = 0
    """Of the last hour, as far as they were not told of before."""
    letters_told_at: datetime | None = None
    """When dead letters were last told of."""
    waiting_since: Mapping[str, datetime] = field(default_factory=dict)
    """By lane, since when its oldest job waits for its first turn."""


class Entered(Enum):
    """What came of writing a count down."""

    COUNTED = auto()
    """The day goes on, or waits for its open calls."""
    CLOSED = auto()
    CORRECTED = auto()
    """It was closed before, on another sum."""
    UNCHANGED = auto()
    """It was closed before on the same sum, or a later count is there already."""
