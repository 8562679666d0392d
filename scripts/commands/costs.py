"""`docmill costs`: what calls cost. An unknown cost stands apart and is never a zero."""

from __future__ import annotations

import argparse
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from config.settings import load_settings
from scripts.commands.shared import terminal
from scripts.commands.shared.figures import counted, spent_fields
from scripts.commands.shared.options import add_json
from tasks.model.call import Usage
from tasks.rules.pricing import dollars
from workers.ledger import CostBy, CostLine, Spent, costs, open_database


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--by",
        type=CostBy,
        choices=list(CostBy),
        default=CostBy.DAY,
        metavar="{" + ",".join(CostBy) + "}",
        help="what to add up (default: day, in UTC)",
    )
    parser.add_argument("--since", type=_day, metavar="DAY", help="from the beginning of this day (UTC): 2026-11-22")
    parser.add_argument("--until", type=_day, metavar="DAY", help="to the end of this day (UTC)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """One line for each group, and their sum."""
    until = args.until and args.until + timedelta(days=1)
    with open_database(load_settings().ledger_url) as database:
        lines = costs(database, args.by, since=args.since, until=until)
    if args.json:
        terminal.print_json(
            {
                "by": args.by.value,
                "groups": [{"group": line.group, **_fields(line.spent)} for line in lines],
                "total": _fields(_total(lines)),
            }
        )
    elif not lines:
        terminal.out().print("no calls in this time")
    else:
        _print(args.by, lines)
    return 0


def _print(by: CostBy, lines: list[CostLine]) -> None:
    total = _total(lines)
    columns = ["calls", "tokens in", "tokens out", "cost", *(["unknown"] if total.unknown_calls else [])]
    shown = terminal.table(by.value, *columns, right=columns, fold=[by.value])
    for line in lines:
        shown.add_row(terminal.cell(line.group), *_figures(line.spent)[: len(columns)])
    shown.add_row("total", *_figures(total)[: len(columns)], style="bold")
    terminal.out().show(shown)
    if total.unknown_calls:
        terminal.note(f"unknown is not in the sum: at most {dollars(total.unknown_estimate_nanousd)} more", "yellow")
    if total.synthetic_calls:
        terminal.note(
            f"{counted(total.synthetic_calls, 'call')} answered by the simulator, at list prices: nothing was paid",
            "yellow",
        )


def _figures(spent: Spent) -> list[str]:
    # A group of nothing but unknown costs has no cost to print, and zero would be one.
    known = dollars(spent.cost_nanousd) if spent.cost_nanousd or not spent.unknown_calls else "unknown"
    unknown = counted(spent.unknown_calls, "call") if spent.unknown_calls else ""
    return [f"{spent.calls:,}", f"{spent.usage.prompt:,}", f"{spent.usage.output:,}", known, unknown]


def _fields(spent: Spent) -> dict[str, Any]:
    return {**spent_fields(spent), "open_calls": spent.open_calls, "synthetic_calls": spent.synthetic_calls}


def _total(lines: list[CostLine]) -> Spent:
    """The sum, field by field."""
    return Spent(
        usage=Usage(**{kind: sum(getattr(line.spent.usage, kind) for line in lines) for kind in Usage.__slots__}),
        **{name: sum(getattr(line.spent, name) for line in lines) for name in Spent.__slots__ if name != "usage"},
    )


def _day(text: str) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day: write 2026-11-22") from None
