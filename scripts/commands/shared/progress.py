"""Progress on stderr: a bar where a person looks on, a line now and then in a pipe."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from scripts.commands.shared import terminal
from scripts.commands.shared.figures import counted
from tasks.model.job import ENDED, JobState

LINE_EVERY_S = 2.0
LINE_EVERY_SHARE = 0.05
SIGN_OF_LIFE_S = 30.0
"""A line in a pipe even when nothing moves: who waits should see what for."""
SHORTEST_LOOK_S, LONGEST_LOOK_S = 0.1, 5.0
LOOK_SHARE = 0.1
"""Part of the time that may go into asking the ledger, whose database the workers need."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a submission is: its jobs by state."""

    states: Mapping[JobState, int]

    @property
    def items(self) -> int:
        """All documents."""
        return sum(self.states.values())

    @property
    def ended(self) -> int:
        """Documents whose story is over, well or badly."""
        return sum(self.states[state] for state in ENDED)

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen."""
        return self.ended == self.items

    def told(self) -> str:
        """`37 done, 1 dead, 12 running`."""
        return told(self.states)


def told(states: Mapping[JobState, int]) -> str:
    """The states that there are, each with its count."""
    return ", ".join(f"{count:,} {state.value}" for state, count in states.items() if count) or "none"


class Display(Protocol):
    """Somewhere to show progress."""

    def show(self, ended: int, items: int | None, said: str) -> None:
        """`items` is None while it is not known how many there are."""


@dataclass
class Lines:
    """Plain lines: at most one every 2 s and every 5 % of the way, besides a sign of life."""

    what: str
    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    _last: tuple[float, int] | None = field(default=None, init=False)

    def show(self, ended: int, items: int | None, said: str) -> None:
        """Say a line if one is due."""
        now = self.clock()
        if self._last is None:
            self._last = now, ended
            return
        at, before = self._last
        quiet_s = now - at
        moved = items is None or ended - before >= items * LINE_EVERY_SHARE
        if (quiet_s >= LINE_EVERY_S and moved and ended > before) or quiet_s >= SIGN_OF_LIFE_S:
            self._last = now, ended
            of = f" of {items:,}" if items is not None else ""
            self.say(f"{self.what}: {ended:,}{of}{f' ({said})' if said else ''}")


class Bar:
    """A bar that is redrawn in its place and taken away at the end."""

    def __init__(self, what: str, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task(what, total=None, said="")

    def show(self, ended: int, items: int | None, said: str) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=ended, total=items, said=said)


@contextmanager
def display(what: str) -> Iterator[Display]:
    """A bar on a terminal, lines elsewhere."""
    console = terminal.err()
    if not console.is_terminal:
        yield Lines(what, lambda line: terminal.note(line))
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None if console.width < 80 else 30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[said]}", style="dim"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bar(what, progress)


def follow(look: Callable[[], Standing], check: Callable[[], None] = lambda: None) -> Standing:
    """Show a submission's way until it is finished, and how it stands then.

    `look` asks the ledger; `check` raises when nobody works on it any more. Both are called several times a second.
    """
    with display("answering") as shown:
        while True:
            began = time.monotonic()
            standing = look()
            shown.show(standing.ended, standing.items, standing.told())
            if standing.finished:
                return standing
            check()
            took_s = time.monotonic() - began
            time.sleep(min(LONGEST_LOOK_S, max(SHORTEST_LOOK_S, took_s / LOOK_SHARE)))


def documents(number: int) -> str:
    """`1 document`, `12 documents`."""
    return counted(number, "document")
