"""Days as people count them: in a time zone, from midnight to midnight, 23 to 25 hours long."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo


def day_of(moment: datetime, zone: ZoneInfo) -> str:
    """The day, as `2026-11-22`, that a moment with a time zone falls on in `zone`."""
    return moment.astimezone(zone).date().isoformat()


def begin_of(day: str, zone: ZoneInfo) -> datetime:
    """The first moment of a day. Where the clocks skip midnight, the moment they skip to. Raises `ValueError`."""
    midnight = datetime.combine(date.fromisoformat(day), time(), zone)
    return midnight.astimezone(ZoneInfo("UTC"))


def day_after(day: str) -> str:
    """The day after. Raises `ValueError` for what is no day."""
    return (date.fromisoformat(day) + timedelta(days=1)).isoformat()


def day_before(day: str) -> str:
    """The day before. Raises `ValueError` for what is no day."""
    return (date.fromisoformat(day) - timedelta(days=1)).isoformat()
