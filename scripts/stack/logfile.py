"""What one process prints, kept in a file of bounded size.

A process writes to its file itself, so it neither waits for a reader nor loses its output when the supervisor dies.
The supervisor follows the file.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import deque
from pathlib import Path
from typing import BinaryIO

LIMIT_BYTES = 10_000_000
CHUNK_BYTES = 1_000_000
LONGEST_LINE_BYTES = 64_000


class LogFile:
    """Lines appended to `path`; beyond `limit_bytes` they move to `path`.1, in the place of older ones."""

    def __init__(self, path: Path, *, limit_bytes: int = LIMIT_BYTES) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = path
        self._limit_bytes = limit_bytes
        self._tail: deque[str] = deque(maxlen=5)
        self._begun = b""
        with self.open() as file:
            self._read_bytes = os.fstat(file.fileno()).st_size

    def open(self) -> BinaryIO:
        """For the process to append to."""
        return os.fdopen(os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "ab")

    def new_lines(self) -> list[str]:
        """Whole lines that appeared since this was last asked, at most about a megabyte at a time."""
        new = self._read()
        *whole, self._begun = (self._begun + new).split(b"\n")
        if len(self._begun) > LONGEST_LINE_BYTES:
            whole.append(self._begun)
            self._begun = b""
        lines = [line.decode(errors="replace").rstrip() for line in whole]
        self._tail.extend(line for line in lines if line)
        if len(new) < CHUNK_BYTES and self._read_bytes > self._limit_bytes:
            self._move_aside()
        return lines

    def tail(self) -> list[str]:
        """The last few lines that were read."""
        return list(self._tail)

    def _read(self) -> bytes:
        """What was appended since the last time, or all there is where somebody else emptied or replaced the file."""
        try:
            with self.path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self._read_bytes:
                    self._read_bytes = 0
                file.seek(self._read_bytes)
                new = file.read(CHUNK_BYTES)
        except FileNotFoundError:
            self._read_bytes = 0
            return b""
        self._read_bytes += len(new)
        return new

    def _move_aside(self) -> None:
        """Copy and empty: the process keeps its open file. What it writes just then may be missing from the copy."""
        with contextlib.suppress(OSError):  # a full disk has no place for a copy
            shutil.copyfile(self.path, self.path.with_name(f"{self.path.name}.1"))
        os.truncate(self.path, 0)
        self._read_bytes = 0
