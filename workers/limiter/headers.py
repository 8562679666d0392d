"""What Claude's responses say of its rate limits."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tasks.rules.limiting import Amounts

STEM = "anthropic-ratelimit"
KINDS = ("requests", "input-tokens", "output-tokens")
ROUNDED = Amounts(0, 500, 500)
"""Tokens left are told in thousands."""


def read_headers(headers: Mapping[str, str]) -> tuple[Amounts, Amounts]:
    """(limits per minute, what is left of them), 0 and -1 where the headers do not say. Never raises."""
    limits = (_number(headers.get(f"{STEM}-{kind}-limit"), 0.0) for kind in KINDS)
    remaining = (_number(headers.get(f"{STEM}-{kind}-remaining"), -1.0) for kind in KINDS)
    up = (left + more if left >= 0 else left for left, more in zip(remaining, ROUNDED, strict=True))
    return Amounts(*limits), Amounts(*up)


def _number(said: str | None, missing: float) -> float:
    try:
        number = float(said) if said is not None else missing
    except ValueError:
        return missing
    return number if 0 <= number < math.inf else missing
