"""How urgent its submitter says a document is."""

from __future__ import annotations

from enum import StrEnum


class Priority(StrEnum):
    """The more urgent goes first in its lane; the less urgent keeps a share, so that it is never left out for good."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"

    @property
    def step(self) -> int:
        """The broker's number for it: of its steps 0 to 9, the smallest goes first."""
        return _STEPS[self]

    @classmethod
    def of(cls, step: int) -> Priority:
        """The one whose step it is; normal for any other number."""
        return next((priority for priority in cls if priority.step == step), cls.NORMAL)


_STEPS = {Priority.HIGH: 0, Priority.NORMAL: 3, Priority.LOW: 6}
