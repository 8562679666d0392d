"""The machine: Python, the data folder, the room on its disk."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from config.settings import Settings
from scripts.commands.shared.health.finding import Finding, Grade

OLDEST_PYTHON = (3, 11)
LITTLE_DISK_BYTES, TOO_LITTLE_DISK_BYTES = 2_000_000_000, 200_000_000


def python() -> Iterator[Finding]:
    """Its version, and whether it has a fast loop."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info < OLDEST_PYTHON:
        yield Finding("python", Grade.MISSING, version, "docmill needs 3.11 or newer")
    else:
        yield Finding("python", Grade.OK, version)
    try:
        import uvloop  # noqa: F401 - whether it can be had
    except ImportError:
        yield Finding("uvloop", Grade.WARNING, "not installed", "a worker's loop is faster with it: pip install uvloop")
    else:
        yield Finding("uvloop", Grade.OK, "installed")


def home(settings: Settings) -> Iterator[Finding]:
    """The data folder: whether it can be written to, and how much."""
    folder = settings.home.absolute()
    there = _nearest(folder)
    if not os.access(there, os.W_OK) or not there.is_dir():
        yield Finding("home", Grade.MISSING, f"{folder} cannot be written to", "set DOCMILL_HOME to a folder of yours")
        return
    yield Finding("home", Grade.OK, str(folder) if folder == there else f"{folder}, made on first use")
    yield _disk(shutil.disk_usage(there).free)


def _nearest(folder: Path) -> Path:
    """The folder itself, or the innermost one above it that exists."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def _disk(free_bytes: int) -> Finding:
    said = f"{free_bytes / 1e9:,.1f} GB free"
    if free_bytes < TOO_LITTLE_DISK_BYTES:
        mend = "make room, or set DOCMILL_HOME to a folder on another disk"
        return Finding("disk", Grade.MISSING, said, mend)
    if free_bytes < LITTLE_DISK_BYTES:
        mend = "answers are kept here before they are kept anywhere else: make room"
        return Finding("disk", Grade.WARNING, said, mend)
    return Finding("disk", Grade.OK, said)
