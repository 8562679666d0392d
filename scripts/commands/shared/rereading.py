"""The documents that a command line names, for a command that reads them twice: to estimate, and then to submit."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from tempfile import TemporaryFile
from typing import BinaryIO, Self

from workers.intake import Taken, Unreadable, find, read_many
from workers.intake.sources import STDIN, Found

MOST_KEPT = 500
MOST_KEPT_BYTES = 32 * 1024 * 1024
"""Documents that are few and small stay in memory between; more are read from their files again."""


class Documents:
    """Readable once, or twice after `look`. Enter it to use it."""

    def __init__(self, paths: Sequence[str], jsonl: Sequence[str]) -> None:
        """Raises `BadSource` for a name that is not there."""
        self._paths, self._jsonl = paths, jsonl
        self._found: Iterator[Found] | None = find(paths, jsonl=jsonl)
        self._stdin: BinaryIO | None = None
        self._kept: list[Taken | Unreadable] | None = None
        self._closing = ExitStack()

    def look(self) -> Iterator[Taken | Unreadable]:
        """Read them in a way that they can be read again."""
        if STDIN in (*self._paths, *self._jsonl):
            # A file without a name, which nobody else can open and which goes with this process.
            self._stdin = self._closing.enter_context(TemporaryFile())  # noqa: SIM115 - the stack closes it
            shutil.copyfileobj(sys.stdin.buffer, self._stdin)
            self._found = None
        kept: list[Taken | Unreadable] | None = []
        size_bytes = 0
        for document in self.read():
            if kept is not None:
                kept.append(document)
                size_bytes += 0 if isinstance(document, Unreadable) else len(document.document.content)
                if len(kept) > MOST_KEPT or size_bytes > MOST_KEPT_BYTES:
                    kept = None
            yield document
        self._kept = kept

    def read(self) -> Iterator[Taken | Unreadable]:
        """Read them."""
        if self._kept is not None:
            return iter(self._kept)
        found, self._found = self._found, None
        if found is None:
            if self._stdin is not None:
                self._stdin.seek(0)
            found = find(self._paths, jsonl=self._jsonl, stdin=self._stdin)
        return read_many(found)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()
