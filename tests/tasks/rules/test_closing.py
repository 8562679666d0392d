"""When a day is closed, by the clock of the configured zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.rules.closing import OPEN_PATIENCE_S, SETTLES_S, is_final
from tasks.rules.days import begin_of, day_after, day_of

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("minutes_after", "open_calls", "final"),
    [(-1, 0, False), (0, 0, False), (4, 0, False), (5, 0, True), (5, 1, False), (59, 3, False), (60, 3, True)],
)
def test_a_day_is_closed_once_it_has_settled_and_is_not_held_up_for_ever(
    minutes_after: int, open_calls: int, final: bool
) -> None:
    midnight = datetime(2026, 11, 23, tzinfo=UTC)
    assert is_final("2026-11-22", open_calls, midnight + timedelta(minutes=minutes_after), ZoneInfo("UTC")) is final


@pytest.mark.parametrize(
    ("day", "ends"),
    [
        ("2026-03-29", datetime(2026, 3, 29, 22, tzinfo=UTC)),  # 23 hours long
        ("2026-10-25", datetime(2026, 10, 25, 23, tzinfo=UTC)),  # 25 hours long
    ],
)
def test_a_day_is_as_long_as_the_clocks_make_it(day: str, ends: datetime) -> None:
    settled = ends + timedelta(seconds=SETTLES_S)
    assert not is_final(day, 0, settled - timedelta(seconds=1), BERLIN)
    assert is_final(day, 0, settled, BERLIN)


@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(2000, 1, 1), max_value=datetime(2099, 1, 1)))  # noqa: DTZ001 - hypothesis wants bounds without a zone
def test_a_running_day_is_never_closed_and_one_of_two_days_ago_always(moment: datetime) -> None:
    assert not is_final(day_of(moment, BERLIN), 0, moment, BERLIN)
    long_after = begin_of(day_after(day_of(moment, BERLIN)), BERLIN) + timedelta(seconds=OPEN_PATIENCE_S)
    assert is_final(day_of(moment, BERLIN), 1_000, long_after, BERLIN)
