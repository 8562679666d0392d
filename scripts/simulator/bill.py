"""What the far side believes it charged: one row per request, and the totals.

Rows are packed, about 80 bytes each, so that a run of a million requests fits. A row is opened when a request
arrives and closed when its answer has gone out, or could not.
"""

from __future__ import annotations

import math
import os
import struct
from collections import Counter
from collections.abc import Iterator
from typing import Any

from scripts.simulator.usage import Usage

IN_FLIGHT = "in_flight"
NO_USAGE = Usage(0, 0, 0, 0, 0)

# at, seconds, retry_after_s | model, outcome, fault, document | stream, charged | key | five counts | nano-dollars
_ROW = struct.Struct("<dff IIII ?? 8s IIIII q")


class Names:
    """Strings that repeat, each stored once."""

    def __init__(self) -> None:
        self._index: dict[str, int] = {}
        self._names: list[str] = []

    def index(self, name: str) -> int:
        """The number of a name, new or known."""
        index = self._index.get(name)
        if index is None:
            index = self._index[name] = len(self._names)
            self._names.append(name)
        return index

    def __getitem__(self, index: int) -> str:
        return self._names[index]


class Bill:
    """Rows by number, in order of arrival; row n has request id `request_id(n)`. Times are unix seconds."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Start again. Rows still open are forgotten: closing them later does nothing."""
        self.run = os.urandom(4).hex()
        self._rows = bytearray()
        self._names = Names()
        self._open: set[int] = set()
        self._outcomes: Counter[str] = Counter()
        self._by_model: dict[str, Counter[str]] = {}

    def __len__(self) -> int:
        return len(self._rows) // _ROW.size

    def request_id(self, row: int) -> str:
        """Unique over restarts and resets."""
        return f"req_sim{self.run}{row:012d}"

    def open(self, at: float) -> int:
        """A row for a request that arrived; returns its number."""
        row = len(self)
        name = self._names.index
        blank = (name(""), name(IN_FLIGHT), name(""), name(""), False, False, bytes(8))
        self._rows += _ROW.pack(at, 0, math.nan, *blank, *NO_USAGE[:5], 0)
        self._open.add(row)
        return row

    def close(
        self,
        row: int,
        run: str,
        *,
        now: float,
        outcome: str,
        model: str = "",
        fault: str = "",
        document: str = "",
        document_key: str = "",
        stream: bool = False,
        charged: bool = False,
        usage: Usage = NO_USAGE,
        nanousd: int = 0,
        retry_after_s: float | None = None,
    ) -> None:
        """Say how it ended. `run` is the bill's when the row was opened; usage counts only where charged."""
        if run != self.run or row not in self._open:
            return
        self._open.discard(row)
        self._outcomes[outcome] += 1
        offset = row * _ROW.size
        at: float = struct.unpack_from("<d", self._rows, offset)[0]
        if charged:
            self._add(model, usage, nanousd)
        else:
            usage, nanousd = NO_USAGE, 0
        name = self._names.index
        words = (name(model), name(outcome), name(fault), name(document), stream, charged)
        key = bytes.fromhex(document_key) if document_key else bytes(8)
        wait_s = math.nan if retry_after_s is None else retry_after_s
        _ROW.pack_into(self._rows, offset, at, now - at, wait_s, *words, key, *usage[:5], nanousd)

    def totals(self) -> dict[str, Any]:
        """Sums over every charged row, and how many requests ended how."""
        total: Counter[str] = Counter()
        for counts in self._by_model.values():
            total.update(counts)
        return {
            "requests": len(self),
            "in_flight": len(self._open),
            **{name: total[name] for name in ("charged", *USAGE_NAMES, "nanousd")},
            "by_model": {model: dict(counts) for model, counts in self._by_model.items()},
            "by_outcome": dict(self._outcomes),
        }

    def rows(self, first: int = 0, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """Rows from number `first` on, as `GET /_sim/bill` shows them."""
        last = len(self) if limit is None else min(len(self), first + limit)
        for row in range(first, last):
            yield self._row(row)

    def _add(self, model: str, usage: Usage, nanousd: int) -> None:
        counts = self._by_model.setdefault(model, Counter())
        counts["charged"] += 1
        counts["nanousd"] += nanousd
        for name, tokens in zip(USAGE_NAMES, usage, strict=False):  # a Usage also has the thinking part of its output
            counts[name] += tokens

    def _row(self, row: int) -> dict[str, Any]:
        values = _ROW.unpack_from(self._rows, row * _ROW.size)
        at, seconds, wait_s, model, outcome, fault, document, stream, charged, key = values[:10]
        return {
            "request_id": self.request_id(row),
            "at": at,
            "ms": round(seconds * 1000, 1),
            "model": self._names[model],
            "usage": dict(zip(USAGE_NAMES, values[10:15], strict=True)),
            "nanousd": values[15],
            "charged": charged,
            "outcome": self._names[outcome],
            "fault": self._names[fault],
            "retry_after_s": None if math.isnan(wait_s) else round(wait_s, 3),
            "document": self._names[document],
            "document_key": key.hex() if any(key) else "",
            "stream": stream,
        }


USAGE_NAMES = (
    "input_tokens",
    "cache_creation_5m_tokens",
    "cache_creation_1h_tokens",
    "cache_read_tokens",
    "output_tokens",
)
