"""Shows what the parts of a stack print: each line behind its part's name, coloured on a terminal."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable
from typing import TextIO

from scripts.stack.supervisor import OURSELVES

COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95)
WIDTH = 9
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class Terminal:
    """Prints to `stream`. Calls `gone` when nobody reads it any more, as after `docmill up | head`."""

    def __init__(self, stream: TextIO, *, gone: Callable[[], None]) -> None:
        self._stream = stream
        self._gone = gone
        self._coloured = stream.isatty() and not os.environ.get("NO_COLOR")

    def hear(self, name: str, line: str) -> None:
        """Print a line of the part of this name."""
        self._print(f"{self._prefix(name)} {CONTROL.sub('?', line)}")

    def note(self, line: str) -> None:
        """Print a line of our own."""
        self.hear(OURSELVES, line)

    def _prefix(self, name: str) -> str:
        prefix = f"{name:<{WIDTH}} |"
        if not self._coloured:
            return prefix
        colour = 1 if name == OURSELVES else COLOURS[zlib.crc32(name.encode()) % len(COLOURS)]
        return f"\x1b[{colour}m{prefix}\x1b[0m"

    def _print(self, line: str) -> None:
        try:
            print(line, file=self._stream, flush=True)
        except UnicodeEncodeError:  # a terminal of an older time
            print(ascii(line), file=self._stream, flush=True)
        except OSError:  # its reader has gone, or the terminal itself
            self._gone()
