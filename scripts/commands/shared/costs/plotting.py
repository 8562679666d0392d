"""Costs as bars in the terminal: no colour needed, 80 columns enough."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import date, timedelta

from scripts.commands.shared import terminal
from tasks.rules.pricing import dollars
from workers.ledger import CostBy, CostLine, Spent

WIDTH = 80
"""Wider terminals are not filled: what is compared had better be near."""
LEAST_BAR = 10
MOST_DAYS = 366
"""A longer gap between days is not drawn day by day."""
KNOWN, UNKNOWN = "█", "░"
PLAIN_KNOWN, PLAIN_UNKNOWN = "#", "."


def plot(by: CostBy, lines: Sequence[CostLine]) -> None:
    """A bar for each group, days without calls too. What may have been billed on top is drawn lighter."""
    shown = _every_day(lines) if by is CostBy.DAY else list(lines)
    rows = [(terminal.printable(line.group), line.spent, dollars(line.spent.cost_nanousd)) for line in shown]
    out = terminal.out()
    names, sums = (max(map(len, column)) for column in (zip(*((name, cost) for name, _, cost in rows), strict=True)))
    room = max(LEAST_BAR, min(out.width, WIDTH) - names - sums - 2 * terminal.GAP)
    most = max(spent.cost_nanousd + spent.unknown_estimate_nanousd for _, spent, _ in rows)
    gap = " " * terminal.GAP
    for name, spent, cost in rows:
        out.print(f"{name:<{names}}{gap}{cost:>{sums}}{gap}{_bar(spent, most, room)}".rstrip(), soft_wrap=True)
    if any(spent.unknown_estimate_nanousd for _, spent, _ in rows):
        terminal.note(f"{_marks()[1]} may have been billed on top: estimates of unknown costs, at most")


def _bar(spent: Spent, most: int, room: int) -> str:
    """Proportional, and never empty for what is not zero."""
    known, unknown = _marks()
    whole = _cells(spent.cost_nanousd + spent.unknown_estimate_nanousd, most, room)
    solid = min(whole, _cells(spent.cost_nanousd, most, room))
    return known * solid + unknown * (whole - solid)


def _cells(nanousd: int, most: int, room: int) -> int:
    return max(1, round(room * nanousd / most)) if nanousd > 0 else 0


def _marks() -> tuple[str, str]:
    try:
        (KNOWN + UNKNOWN).encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return PLAIN_KNOWN, PLAIN_UNKNOWN
    return KNOWN, UNKNOWN


def _every_day(lines: Sequence[CostLine]) -> list[CostLine]:
    known = {line.group: line for line in lines}
    first, last = (date.fromisoformat(line.group) for line in (lines[0], lines[-1]))
    count = (last - first).days + 1
    if count > MOST_DAYS:
        return list(lines)
    days = [(first + timedelta(days=number)).isoformat() for number in range(count)]
    return [known.get(day, CostLine(day, Spent())) for day in days]
