"""When a channel is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.rules.delivering import GIVE_UP_S, LONGEST_WAIT_S, next_try

RAISED = datetime(2026, 11, 22, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("tries", "wait_s"), [(1, 30), (2, 60), (3, 120), (7, 1_920), (8, 3_600), (40, 3_600), (10**6, 3_600)]
)
def test_waits_double_up_to_an_hour(tries: int, wait_s: int) -> None:
    assert next_try(tries, RAISED, RAISED) == RAISED + timedelta(seconds=wait_s)


def test_a_day_old_alert_is_given_up() -> None:
    nearly = RAISED + timedelta(seconds=GIVE_UP_S - 1)
    assert next_try(30, RAISED, nearly) == nearly + timedelta(seconds=LONGEST_WAIT_S)
    assert next_try(30, RAISED, RAISED + timedelta(seconds=GIVE_UP_S)) is None


@given(st.integers(1, 100), st.floats(0, GIVE_UP_S - 1))
def test_it_is_tried_again_later_and_within_the_hour(tries: int, age_s: float) -> None:
    now = RAISED + timedelta(seconds=age_s)
    again = next_try(tries, RAISED, now)
    assert again is not None
    assert timedelta(seconds=30) <= again - now <= timedelta(hours=1)
