"""Reading our TOML files: a fault names the file, the value and the way out."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError


class BadConfig(ValueError):
    """A configuration file that cannot be used; the message is one line for a person."""


def read_toml(path: Path) -> dict[str, Any]:
    """The file as a table. Raises `BadConfig` when it cannot be read or parsed."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadConfig(f"{path}: {error}") from None


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over` on top, table by table."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def first_problem(path: Path, error: ValidationError) -> BadConfig:
    """The first of pydantic's complaints as one line that names the file and the key."""
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"]) or "the file"
    return BadConfig(f"{path}: {key}: {problem['msg']}")
