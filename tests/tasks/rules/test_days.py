"""Days in a time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.rules.days import begin_of, day_after, day_of

BERLIN, NEW_YORK, CAIRO, KIRITIMATI = map(
    ZoneInfo, ("Europe/Berlin", "America/New_York", "Africa/Cairo", "Pacific/Kiritimati")
)
ZONES = st.sampled_from((ZoneInfo("UTC"), BERLIN, NEW_YORK, CAIRO, KIRITIMATI))
MOMENTS = st.datetimes(datetime(2015, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - UTC is added


@pytest.mark.parametrize(
    ("moment", "zone", "day"),
    [
        (datetime(2026, 11, 22, 23, 59, 59, tzinfo=UTC), ZoneInfo("UTC"), "2026-11-22"),
        (datetime(2026, 11, 22, 23, 0, tzinfo=UTC), BERLIN, "2026-11-23"),
        (datetime(2026, 11, 23, 4, 59, tzinfo=UTC), NEW_YORK, "2026-11-22"),
        (datetime(2026, 11, 22, 10, 0, tzinfo=UTC), KIRITIMATI, "2026-11-23"),
    ],
)
def test_a_moment_falls_on_the_zones_day(moment: datetime, zone: ZoneInfo, day: str) -> None:
    assert day_of(moment, zone) == day


@given(MOMENTS, ZONES)
def test_every_moment_lies_between_the_begin_of_its_day_and_of_the_next(moment: datetime, zone: ZoneInfo) -> None:
    day = day_of(moment, zone)
    assert begin_of(day, zone) <= moment < begin_of(day_after(day), zone)


@given(st.dates(date(2015, 1, 1), date(2035, 1, 1)), ZONES)
def test_a_day_begins_on_itself_and_lasts_23_to_25_hours(day: date, zone: ZoneInfo) -> None:
    begin, end = begin_of(day.isoformat(), zone), begin_of(day_after(day.isoformat()), zone)
    assert day_of(begin, zone) == day.isoformat()
    assert timedelta(hours=23) <= end - begin <= timedelta(hours=25)


def test_days_of_a_clock_change_are_shorter_and_longer() -> None:
    lengths = {day: begin_of(day_after(day), BERLIN) - begin_of(day, BERLIN) for day in ("2026-03-29", "2026-10-25")}
    assert lengths == {"2026-03-29": timedelta(hours=23), "2026-10-25": timedelta(hours=25)}


@pytest.mark.parametrize("said", ["", "2026-13-01", "yesterday"])
def test_what_is_no_day_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match=r"isoformat|month"):
        begin_of(said, BERLIN)
