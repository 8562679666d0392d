"""A file that is there whole, or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from scripts.commands.shared.mistakes import Mistake

STDOUT = "-"


def check_target(name: str) -> None:
    """Raises `Mistake` for a file that could not be written: better before the work than after it."""
    if name == STDOUT:
        return
    path = Path(name)
    if path.is_dir():
        raise Mistake(f"{name}: is a folder: name a file in it")
    if not path.resolve().parent.is_dir():
        raise Mistake(f"{name}: its folder does not exist: make {path.parent} first")
    if not os.access(path.resolve().parent, os.W_OK):
        raise Mistake(f"{name}: its folder may not be written to: name another file")


def write_lines(name: str, lines: Iterable[str]) -> int:
    """Write the lines, each with its end, and say how many. A file appears when it is complete; `-` is stdout."""
    if name == STDOUT:
        return _write(sys.stdout, lines)
    check_target(name)
    target = Path(name).resolve()  # a link stays a link
    if target.exists() and not target.is_file():  # a device or a pipe cannot be replaced
        with target.open("w", encoding="utf-8") as file:
            return _write(file, lines)
    draft = target.with_name(f".{target.name}.{os.getpid()}.draft")
    try:
        with draft.open("w", encoding="utf-8") as file:
            written = _write(file, lines)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return written


def _write(file: TextIO, lines: Iterable[str]) -> int:
    written = 0
    for line in lines:
        file.write(line)
        written += 1
    return written
