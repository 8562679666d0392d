"""Plain text and Markdown: taken as they are, once decoded."""

from __future__ import annotations

from workers.intake.document import Parsed, checked
from workers.intake.encoding import decode, tidy


def parse(content: bytes, name: str) -> Parsed:
    """The text. Raises `Empty`, or `Unreadable` when it is too long."""
    return Parsed(checked(tidy(decode(content)), name))
