"""`docmill costs`: what calls cost. An unknown cost stands apart and is never a zero."""

from __future__ import annotations

import argparse
from datetime import date
from typing import Any

from config.settings import load_settings
from scripts.commands.shared import terminal
from scripts.commands.shared.costs import reconciling
from scripts.commands.shared.costs.exporting import compared_fields, fields, print_csv
from scripts.commands.shared.costs.plotting import plot
from scripts.commands.shared.costs.saving import Saved, saved
from scripts.commands.shared.figures import counted
from tasks.model.budget import BudgetNow
from tasks.rules.budget import named
from tasks.rules.days import day_of
from tasks.rules.pricing import dollars
from workers.ledger import CostBy, CostLine, Database, Spent, budgets_now, costs, open_database
from workers.ledger.spending import total


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--by",
        type=CostBy,
        choices=list(CostBy),
        default=CostBy.DAY,
        metavar="{" + ",".join(CostBy) + "}",
        help="what to add up (default: day, in DOCMILL_TIME_ZONE; fault: why calls brought no answer)",
    )
    parser.add_argument("--since", type=_day, metavar="DAY", help="from this day on: 2026-11-22")
    parser.add_argument("--until", type=_day, metavar="DAY", help="up to this day, included")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print JSON for a program instead of a table")
    how.add_argument("--csv", action="store_true", help="print CSV, with exact nano-dollars and dollars")
    how.add_argument("--plot", action="store_true", help="draw a bar for each group")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", dest="verb")
    reconciling.configure(verbs)


def run(args: argparse.Namespace) -> int:
    """One line for each group, and their sum; or the comparison with the provider's export."""
    with open_database(load_settings().ledger_url) as database:
        if args.verb is not None:
            return reconciling.run(database, args)
        return _report(database, args)


def _report(database: Database, args: argparse.Namespace) -> int:
    days = {"since": args.since, "until": args.until}
    lines = costs(database, args.by, **days)
    if args.csv:
        print_csv(args.by, lines)
        return 0
    settings = load_settings()
    if args.json:
        savings = saved(database, settings.home, settings.time_zone, **days)
        terminal.print_json(
            {**_fields(args.by, lines, savings, str(settings.time_zone)), "budgets": _budgets(database)}
        )
    elif not lines:
        terminal.out().print("no calls in this time")
    elif args.plot:
        plot(args.by, lines)
    else:
        _print(args.by, lines)
        _notes(total(line.spent for line in lines), saved(database, settings.home, settings.time_zone, **days))
        for budget in _budgets(database):
            terminal.note(_of_budget(budget))
    return 0


def _budgets(database: Database) -> list[BudgetNow]:
    """What may be spent today, and what of it is."""
    return budgets_now(database, day_of(database.now(), load_settings().time_zone))


def _of_budget(budget: BudgetNow) -> str:
    limits = {"hard": budget.hard_nanousd, "soft": budget.soft_nanousd}
    said = " and ".join(f"{dollars(limit)} {kind}" for kind, limit in limits.items() if limit is not None)
    held = f", {dollars(budget.held_nanousd)} held for calls under way" if budget.held_nanousd else ""
    return f"budget of {named(budget.scope, budget.name)}: {dollars(budget.spent_nanousd)} of {said}{held}"


def _fields(by: CostBy, lines: list[CostLine], savings: Saved, zone: str) -> dict[str, Any]:
    return {
        "by": by.value,
        "time_zone": zone,
        "groups": [{"group": line.group, **fields(line.spent)} for line in lines],
        "total": fields(total(line.spent for line in lines)),
        "savings": {
            "strong_model": savings.strong_model,
            "routing_estimate": savings.routing and compared_fields(savings.routing),
            "caching": compared_fields(savings.caching),
        },
    }


def _print(by: CostBy, lines: list[CostLine]) -> None:
    whole = total(line.spent for line in lines)
    columns = ["calls", "tokens in", "tokens out", "cost", *(["unknown"] if whole.unknown_calls else [])]
    shown = terminal.table(by.value, *columns, right=columns, fold=[by.value])
    for line in lines:
        shown.add_row(terminal.cell(line.group), *_figures(line.spent)[: len(columns)])
    shown.add_row("total", *_figures(whole)[: len(columns)], style="bold")
    terminal.out().show(shown)


def _figures(spent: Spent) -> list[str]:
    # A group of nothing but unknown costs has no cost to print, and zero would be one.
    known = dollars(spent.cost_nanousd) if spent.cost_nanousd or not spent.unknown_calls else "unknown"
    unknown = counted(spent.unknown_calls, "call") if spent.unknown_calls else ""
    return [f"{spent.calls:,}", f"{spent.usage.prompt:,}", f"{spent.usage.output:,}", known, unknown]


def _notes(whole: Spent, savings: Saved) -> None:
    """What the sum hides: failures, what was saved, what is not known, and what was never paid."""
    if whole.failed_calls:
        calls = counted(whole.failed_calls, "call")
        terminal.note(f"failures: {calls} without a usable answer cost {dollars(whole.failed_nanousd)}")
    if savings.routing and savings.routing.saved_nanousd:
        _note_saved(
            "routing",
            savings.routing.saved_nanousd,
            f"against all on {savings.strong_model} (an estimate)",
        )
    if savings.caching.calls:
        _note_saved("caching", savings.caching.saved_nanousd, "against no cache")
    if whole.unknown_calls:
        terminal.note(f"unknown is not in the sum: at most {dollars(whole.unknown_estimate_nanousd)} more", "yellow")
    if whole.unpriced_calls:
        terminal.note(
            f"{counted(whole.unpriced_calls, 'call')} of models without a price: add them to prices.toml", "yellow"
        )
    if whole.synthetic_calls:
        terminal.note(
            f"{counted(whole.synthetic_calls, 'call')} answered by the simulator, at list prices: nothing was paid",
            "yellow",
        )


def _note_saved(what: str, nanousd: int, against: str) -> None:
    verb = "saved" if nanousd >= 0 else "cost"
    terminal.note(f"{what} {verb} {dollars(abs(nanousd))} {against}")


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day: write 2026-11-22") from None
