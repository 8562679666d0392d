"""What is printed: answers and tables on stdout, notes and progress on stderr, JSON for programs.

Whatever came from outside (names, answers) goes through `printable`: a document must not be able to drive a terminal.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

PIPE_WIDTH = 10_000
"""Nothing is wrapped or cut in a pipe: a line of a table is a line."""
READABLE_WIDTH = 100
"""Longer lines of running text are hard to read, however wide the terminal."""
GAP = 2
"""Blanks between two columns."""
NARROWEST_FOLD = 16
"""A column whose lines are shorter is a chore to read."""
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Terminal(Console):
    """A console that takes text as it is, and leaves a broken pipe to `scripts.cli`."""

    def __init__(self, stream: TextIO) -> None:
        # rich asks the stream for its encoding, but writes to it with the stream's own error handling.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
        width = None if stream.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH
        super().__init__(file=stream, width=width, highlight=False, markup=False, emoji=False)

    def on_broken_pipe(self) -> None:
        """As any other program's: not with an exit of rich's own."""
        raise BrokenPipeError

    def show(self, table: Table) -> None:
        """Print a table, or its rows one below the other where it does not fit; in a pipe without trailing blanks."""
        if self.is_terminal:
            self.print(table if self._fits(table) else _stacked(table))
            return
        with self.capture() as captured:
            self.print(table)
        self.file.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())

    def _fits(self, table: Table) -> bool:
        if not table.show_header:  # a grid of names and values folds its values
            return True
        needed = 0
        for column in table.columns:
            widest = max(self.measure(cell).maximum for cell in (column.header, *column.cells))
            needed += GAP + (widest if column.no_wrap else min(widest, NARROWEST_FOLD))
        return needed - GAP <= self.width

    @property
    def readable_width(self) -> int:
        """Columns for running text."""
        return min(self.width, READABLE_WIDTH)


def out() -> Terminal:
    """What was asked for goes here."""
    return Terminal(sys.stdout)


def err() -> Terminal:
    """What is said beside it goes here, so that stdout can be piped on."""
    return Terminal(sys.stderr)


def note(line: str, style: str = "") -> None:
    """One line beside the output."""
    sys.stdout.flush()  # where both go to one place, what was said first comes first
    err().print(printable(line), style=style)


def printable(text: str) -> str:
    """The text without what would move the cursor, change colours or ring: such a character becomes U+FFFD."""
    return CONTROL.sub("\ufffd", text.replace("\r\n", "\n"))


def table(*columns: str, right: Sequence[str] = (), fold: Sequence[str] = ()) -> Table:
    """An empty table. Columns keep their width, except those in `fold`, which give way in a narrow terminal."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    for column in columns:
        made.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=column not in fold,
            overflow="fold",
        )
    return made


def grid(columns: int = 2) -> Table:
    """An empty table without a header: names, and values that fold."""
    made = Table.grid(padding=(0, GAP, 0, 0))
    for _ in range(columns - 1):
        made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    return made


def _stacked(table: Table) -> Group:
    """Each row as a grid of its own."""
    blocks: list[RenderableType] = []
    for row in zip(*(column.cells for column in table.columns), strict=True):
        block = grid()
        for column, said in zip(table.columns, row, strict=True):
            block.add_row(column.header, said)
        blocks += [block, Text()]
    return Group(*blocks[:-1])


def cell(text: str, style: str = "") -> Text:
    """A cell with text from outside."""
    return Text(printable(text).replace("\n", " "), style=style)


def json_text(value: object, *, indent: int | None = 2) -> str:
    """JSON of our own values: dataclasses as objects, times in ISO 8601."""
    plain = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return json.dumps(value, indent=indent, ensure_ascii=not plain, default=_plain)


def print_json(value: object) -> None:
    """One JSON value on stdout."""
    print(json_text(value))


def print_json_with_list(head: dict[str, Any], name: str, values: Iterable[object]) -> None:
    """One JSON object on stdout, its last member a list that is written as it comes: it may be long."""
    opening = json_text(head).removesuffix("\n}")
    print(f'{opening},\n  "{name}": [', end="")
    between = "\n"
    for value in values:
        print(f"{between}    {json_text(value, indent=None)}", end="")
        between = ",\n"
    print("\n  ]\n}" if between == ",\n" else "]\n}")


def json_lines(values: Iterable[object]) -> Iterator[str]:
    """Each value as one line of UTF-8 JSON."""
    for value in values:
        yield json.dumps(value, ensure_ascii=False, default=_plain) + "\n"


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"no JSON for a {type(value).__name__}")
