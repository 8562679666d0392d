"""What happens to a job after an attempt."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.model.fault import Fault


@dataclass(frozen=True, slots=True)
class Done:
    """A right answer."""

    output: str
    """Free text, or canonical JSON where the recipe has a schema."""


@dataclass(frozen=True, slots=True)
class RetryIn:
    """Another try after a wait in the broker."""

    seconds: float
    fault: Fault
    counts: bool
    """Whether the failed try counts as an attempt; being told to wait does not."""


@dataclass(frozen=True, slots=True)
class Park:
    """Nobody's attempt: the lane is paused and the job waits in it."""

    seconds: float
    """How long until the lane is tried again; a person may resume it sooner."""
    fault: Fault


@dataclass(frozen=True, slots=True)
class Bury:
    """No use trying again: a dead letter."""

    fault: Fault


Verdict = Done | RetryIn | Park | Bury
