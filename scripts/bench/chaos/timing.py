"""When requests came, by the far side's log: too soon, or all at once. Pure: rows of the bill in, numbers out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

Row = Mapping[str, Any]
BARS = "▁▂▃▄▅▆▇█"
CLOCK_S = 0.01
"""The far side notes when it began to answer; the wait begins when the answer is there."""


def too_soon(rows: Sequence[Row]) -> list[str]:
    """Documents that were asked for again before the far side's retry-after was over."""
    by_document: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_document[row["document"]].append(row)
    found = []
    for document, asked in by_document.items():
        asked.sort(key=lambda row: row["at"])
        for told, again in pairwise(asked):
            if told["retry_after_s"] is not None and again["at"] < told["at"] + told["retry_after_s"] - CLOCK_S:
                found.append(document)
                break
    return found


def per_second(rows: Sequence[Row]) -> list[int]:
    """Requests in each second from the first request to the last."""
    if not rows:
        return []
    first = min(row["at"] for row in rows)
    counts = Counter(int(row["at"] - first) for row in rows)
    return [counts[second] for second in range(max(counts) + 1)]


def histogram(counts: Sequence[int]) -> str:
    """A bar for each number, the highest full; a dot for 0."""
    most = max(counts, default=0)
    return "".join(BARS[(count * len(BARS) - 1) // most] if count else "·" for count in counts)
