"""A document that somebody named, before it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from config.catalogue import Complexity
from tasks.model.priority import Priority


@dataclass(frozen=True, slots=True)
class Source:
    """Where a document's bytes are, and what its submitter said about it."""

    name: str
    """One printable line: a path as `shown`, the id of a JSONL line, or `stdin`."""
    body: Path | bytes | str = field(repr=False)
    """A file to read, its bytes, or text, which is taken as it is."""
    recipe: str | None = None
    """None leaves it to the submission, as does a complexity or a priority of None."""
    complexity: Complexity | None = None
    priority: Priority | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, JsonValue] = field(default_factory=dict)
