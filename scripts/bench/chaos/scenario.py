"""What a scenario is, and what it comes to. Values only: `scene` runs one, `witness` judges it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scripts.bench.chaos.witness import Finding

if TYPE_CHECKING:
    from scripts.bench.chaos.scene import Scene

LATENCY = "uniform:0.2,0.6"


@dataclass(frozen=True, slots=True)
class Scenario:
    """What runs, and what dies meanwhile."""

    name: str
    harm: Callable[[Scene], None]
    markers: str = ""
    """Faults that each document meets at the far side, as the simulator's markers say them."""
    special: Mapping[int, str] = field(default_factory=dict)
    """Markers of single documents, by number, in place of `markers`."""
    on_crash: str = "hold"
    latency: str = LATENCY
    slots: int = 10
    """Jobs that one worker runs at once: few, so that the run lasts."""
    beats: int = 1
    postgres: bool = False
    """Whether the ledger is in PostgreSQL."""
    small_disk: bool = False
    """Whether the spool has a disk of its own, of `furniture.DISK_MB`."""
    settings: Mapping[str, float] = field(default_factory=dict)
    """Settings on top of the mill's."""
    clean: bool = False
    """Whether every job must be done: nothing dies here that could have left one uncertain."""
    may_die: int = 0
    """Jobs that must end as dead letters; no others may."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a scenario came to under one seed."""

    scenario: str
    seed: int
    jobs: int
    kills: int
    finding: Finding
    took_s: float
    """From the submission until the last job had ended, or we gave up."""
    notes: tuple[str, ...]
    broken: tuple[str, ...]
