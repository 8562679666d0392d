"""When an alert that a channel did not take is tried again, and when it is given up."""

from __future__ import annotations

from datetime import datetime, timedelta

FIRST_WAIT_S = 30.0
LONGEST_WAIT_S = 3_600.0
GIVE_UP_S = 86_400.0
"""A day-old alert is history; it stays in the list as given up."""


def next_try(tries: int, created_at: datetime, now: datetime) -> datetime | None:
    """When to try again after `tries` that failed, the last one now; None gives up.

    Waits double from 30 s to an hour.
    """
    if now - created_at >= timedelta(seconds=GIVE_UP_S):
        return None
    doubled = FIRST_WAIT_S * 2 ** min(max(0, tries - 1), 16)
    return now + timedelta(seconds=min(LONGEST_WAIT_S, doubled))
