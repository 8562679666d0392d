"""One thing that was looked at, and how it was found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """How a finding is to be taken."""

    OK = "ok"
    NOTE = "note"
    """As it may well be; worth knowing."""
    WARNING = "warning"
    """Works, and will hurt."""
    MISSING = "missing"
    """Needed, and not there."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `mend` says what to do, where there is something to do."""

    about: str
    grade: Grade
    said: str
    mend: str = ""
