"""Numbers, spans, moments and money in the words of a person, and in those of a program."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tasks.model.call import Usage
from tasks.rules.pricing import NANO, dollars

if TYPE_CHECKING:
    from workers.ledger import Spent

MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 document`, `1,200 documents`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def span(seconds: float) -> str:
    """A length of time: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`, `3 d 4 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} min {whole % MINUTE_S:02} s"
    if whole < DAY_S:
        return f"{whole // HOUR_S} h {whole % HOUR_S // MINUTE_S:02} min"
    return f"{whole // DAY_S} d {whole % DAY_S // HOUR_S} h"


def milliseconds(value: int | None) -> str:
    """A call's latency: `850 ms`, `2.4 s`; empty where it is not known."""
    if value is None:
        return ""
    return f"{value} ms" if value < 1_000 else span(value / 1_000)


def moment(at: datetime) -> str:
    """A time of day in the reader's own zone."""
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def ago(at: datetime, now: datetime | None = None) -> str:
    """How long since, in one unit: `5 s ago`, `12 min ago`."""
    seconds = max(0, int(((now or datetime.now(UTC)) - at).total_seconds()))
    for unit_s, unit in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "min")):
        if seconds >= unit_s:
            return f"{seconds // unit_s} {unit} ago"
    return f"{seconds} s ago"


def cost(spent: Spent) -> str:
    """Money for a person. What is not known is said beside it, and is never zero."""
    if not spent.unknown_calls:
        return dollars(spent.cost_nanousd)
    unknown = f"{counted(spent.unknown_calls, 'call')} of unknown cost"
    if spent.unknown_estimate_nanousd:
        unknown += f" (at most {dollars(spent.unknown_estimate_nanousd)})"
    return f"{dollars(spent.cost_nanousd)} + {unknown}" if spent.cost_nanousd else unknown


def tokens(usage: Usage) -> str:
    """`1,200 in (800 from cache), 300 out`."""
    cached = f" ({usage.cache_read:,} from cache)" if usage.cache_read else ""
    return f"{usage.prompt:,} in{cached}, {usage.output:,} out"


def spent_fields(spent: Spent) -> dict[str, Any]:
    """Money and tokens for a program. `cost_nanousd` is a sum that leaves out `unknown_calls`."""
    return {
        "calls": spent.calls,
        "tokens": spent.usage,
        "cost_nanousd": spent.cost_nanousd,
        "cost_usd": exact_dollars(spent.cost_nanousd),
        "unknown_calls": spent.unknown_calls,
        "unknown_estimate_nanousd": spent.unknown_estimate_nanousd,
    }


def exact_dollars(nanousd: int | None) -> str | None:
    """Money for a program: all nine digits, no rounding. None where it is not known."""
    return None if nanousd is None else f"{Decimal(nanousd) / NANO:.9f}"
