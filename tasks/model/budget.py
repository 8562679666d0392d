"""What may be spent, and what counts toward it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Scope(StrEnum):
    """What a budget is for."""

    DAY = "day"
    """Everything, each day."""
    RECIPE = "recipe"
    """A recipe, by its name, each day."""
    SUBMISSION = "submission"
    """A submission's own jobs, in all."""


@dataclass(frozen=True, slots=True)
class BudgetNow:
    """A budget as it stands. A hard limit stops, a soft one only tells."""

    scope: str
    """A `Scope`."""
    name: str
    """Of the recipe, or id of the submission; empty for the day's."""
    hard_nanousd: int | None
    soft_nanousd: int | None
    spent_nanousd: int
    """By ended calls; where a cost is unknown, the most it can be."""
    held_nanousd: int
    """For calls under way."""
    day: str = ""
    """That `spent_nanousd` and `held_nanousd` are of; empty for a submission's."""
    refused_at: datetime | None = None
    """When a call was last refused that only another day or a higher limit lets through, be it an only large one."""


@dataclass(frozen=True, slots=True)
class Share:
    """What a call counts toward budgets."""

    spent_nanousd: int = 0
    held_nanousd: int = 0

    def __sub__(self, other: Share) -> Share:
        return Share(self.spent_nanousd - other.spent_nanousd, self.held_nanousd - other.held_nanousd)

    def __add__(self, other: Share) -> Share:
        return Share(self.spent_nanousd + other.spent_nanousd, self.held_nanousd + other.held_nanousd)
