"""Costs for programs: the fields of the JSON, and CSV as in RFC 4180."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from typing import Any

from scripts.commands.shared.figures import exact_dollars, spent_fields
from tasks.rules.comparing import Compared
from workers.ledger import CostBy, CostLine, Spent

COUNTS = ("unpriced_calls", "open_calls", "synthetic_calls", "failed_calls", "failed_nanousd")


def fields(spent: Spent) -> dict[str, Any]:
    """A sum for a program."""
    return {**spent_fields(spent), **{name: getattr(spent, name) for name in COUNTS}}


def compared_fields(compared: Compared) -> dict[str, Any]:
    """A comparison for a program."""
    return {
        "calls": compared.calls,
        "paid_nanousd": compared.paid_nanousd,
        "otherwise_nanousd": compared.otherwise_nanousd,
        "saved_nanousd": compared.saved_nanousd,
        "saved_usd": exact_dollars(compared.saved_nanousd),
    }


def print_csv(by: CostBy, lines: Sequence[CostLine]) -> None:
    """A row for each group; money as integer nano-dollars, and as dollars with all nine digits."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(newline="")  # lines end in CR LF already
    rows = [_row(by, line) for line in lines]
    writer = csv.DictWriter(sys.stdout, fieldnames=list(_row(by, CostLine("", Spent()))))
    writer.writeheader()
    writer.writerows(rows)


def _row(by: CostBy, line: CostLine) -> dict[str, Any]:
    spent = line.spent
    return {
        by.value: line.group,
        "calls": spent.calls,
        **{f"{kind}_tokens": getattr(spent.usage, kind) for kind in spent.usage.__slots__},
        "cost_nanousd": spent.cost_nanousd,
        "cost_usd": exact_dollars(spent.cost_nanousd),
        "unknown_calls": spent.unknown_calls,
        "unknown_estimate_nanousd": spent.unknown_estimate_nanousd,
        "unknown_estimate_usd": exact_dollars(spent.unknown_estimate_nanousd),
        **{name: getattr(spent, name) for name in COUNTS},
        "failed_usd": exact_dollars(spent.failed_nanousd),
    }
