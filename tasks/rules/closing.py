"""When a day's total is final: it has ended, and none of its calls is open any more."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from tasks.rules.days import begin_of, day_after

SETTLES_S = 300.0
"""A call has its day before the ledger has the call: so long they may be apart, whichever clock said so."""
OPEN_PATIENCE_S = 3_600.0
"""A call that is open for so long after its day is closed over, by its name."""


def is_final(day: str, open_calls: int, now: datetime, zone: ZoneInfo) -> bool:
    """Whether a day may be closed that was counted at `now` with so many calls open."""
    ended_s = (now - begin_of(day_after(day), zone)) / timedelta(seconds=1)
    return ended_s >= (OPEN_PATIENCE_S if open_calls else SETTLES_S)
