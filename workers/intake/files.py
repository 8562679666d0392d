"""The bytes of one file, as they are at one moment, or a fault of that file alone."""

from __future__ import annotations

import os
import stat
from io import FileIO
from pathlib import Path

from workers.intake.document import MAX_BYTES, Skipped, Unreadable
from workers.intake.kinds import HEAD_BYTES, Kind, kind_of

_OPENING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
"""A FIFO put in the file's place must not make us wait for its writer."""


def load(path: Path, name: str) -> tuple[bytes, Kind]:
    """A file's bytes and kind; the kind is decided before the rest is read. Raises `Unreadable`."""
    try:
        with FileIO(path, "r", opener=lambda target, _: os.open(target, _OPENING)) as handle:
            return take(handle, name)
    except FileNotFoundError:
        raise Unreadable(name, "it is no longer there: submit what took its place") from None
    except PermissionError:
        raise Unreadable(name, "no permission to read it: change its mode or its owner") from None
    except IsADirectoryError:
        raise Unreadable(name, "a folder, not a document: name the folder on the command line") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in a JSONL line's path
        raise Unreadable(name, f"cannot be read ({getattr(error, 'strerror', None) or error})") from None


def take(handle: FileIO, name: str) -> tuple[bytes, Kind]:
    """The bytes and kind of an open file. Raises `Skipped` or `Unreadable`."""
    before = os.fstat(handle.fileno())
    if not stat.S_ISREG(before.st_mode):
        raise Skipped(name, special(before.st_mode))
    head = handle.read(HEAD_BYTES)
    kind = kind_of(head, name)
    if before.st_size > MAX_BYTES:
        raise too_large(name, f"{before.st_size:,} bytes")
    # One byte more than there should be shows that the file grew.
    content = head + handle.read(before.st_size - HEAD_BYTES + 1) if before.st_size >= HEAD_BYTES else head
    after = os.fstat(handle.fileno())
    if (before.st_size, before.st_mtime_ns) != (len(content), after.st_mtime_ns):
        sizes = f"{before.st_size:,} bytes before, {after.st_size:,} after"
        raise Unreadable(name, f"changed while it was read ({sizes}): submit it again")
    return content, kind


def too_large(name: str, size: str) -> Unreadable:
    """The fault of a document over `MAX_BYTES`."""
    return Unreadable(name, f"{size}, {MAX_BYTES:,} are taken: split it")


def special(mode: int) -> str:
    """Why something that is not a regular file is left out."""
    for test, what in (
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
        (stat.S_ISDIR, "a folder"),
    ):
        if test(mode):
            return f"{what}, not a file; pipe its content in as '-'" if what == "a FIFO" else f"{what}, not a file"
    return "not a file"
