"""Ids that sort by the time they were made, which keeps indexes compact and lists in order."""

from __future__ import annotations

import time
from secrets import token_hex


def new_id(prefix: str) -> str:
    """A fresh id such as `job-019aacf3b1e27d04c5a9f1`: 48 bits of milliseconds, then 40 of chance, in hex."""
    return f"{prefix}-{time.time_ns() // 1_000_000:012x}{token_hex(5)}"
