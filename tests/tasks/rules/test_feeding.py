"""How much is fed of a lane's line, to whom, and how long the rest takes."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.model.priority import Priority
from tasks.rules.feeding import LEAST, MOST, SHARES, alternating, next_depth, next_rate, portions, seconds_left, to_feed

HIGH, NORMAL, LOW = (priority.step for priority in Priority)
counts = st.integers(0, 2_000)
waiting_by_step = st.dictionaries(st.sampled_from([HIGH, NORMAL, LOW]), counts)


@pytest.mark.parametrize(
    ("ended_per_s", "free", "depth"),
    [
        (0, 0, LEAST),
        (0.1, 0, LEAST),  # a slow lane holds little: who comes late has little before him
        (100, 0, 200),
        (0, 600, 600 + LEAST),  # idle workers
        (100, 50, 250),
        (100, -20, 200),  # more in flight than there are slots now
        (1e6, 1e6, MOST),
    ],
)
def test_the_broker_holds_seconds_of_work_and_what_idle_workers_take(ended_per_s: float, free: int, depth: int) -> None:
    assert next_depth(ended_per_s, int(free)) == depth


@given(st.floats(0, 1e9), st.integers(-10_000, 10_000_000))
def test_the_backlog_is_bounded(ended_per_s: float, free: int) -> None:
    assert LEAST <= next_depth(ended_per_s, free) <= MOST


@pytest.mark.parametrize(
    ("depth", "ready", "delayed", "fed"),
    [
        (250, 100, 0, 150),
        (250, 300, 0, 0),
        (250, 100, 4_800, 100),  # with what waits for its time the broker holds as many as it may
        (250, 100, 10_000, 0),
        (MOST, 0, 0, MOST),
    ],
)
def test_what_waits_in_the_broker_for_its_time_counts(depth: int, ready: int, delayed: int, fed: int) -> None:
    assert to_feed(depth, ready, delayed) == fed


def test_a_steady_lane_is_known_after_seconds_and_forgotten_after_seconds() -> None:
    rate = 0.0
    for _ in range(20):
        rate = next_rate(rate, 100, 0.25)
    assert 350 < rate <= 400
    for _ in range(40):
        rate = next_rate(rate, 0, 0.25)
    assert rate < 5


def test_a_wave_is_no_rate() -> None:
    """Two hundred calls begun together end together: that is no 800 a second."""
    assert next_rate(0.0, 200, 0.25) < 100


@given(st.floats(0, 1e6), st.integers(-1_000, 1_000_000), st.floats(0, 100))
def test_a_rate_is_never_negative(rate: float, ended: int, seconds: float) -> None:
    assert next_rate(rate, ended, seconds) >= 0


@given(st.integers(0, 5_000), waiting_by_step)
def test_all_room_is_used_and_nobody_is_fed_who_does_not_wait(room: int, waiting: dict[int, int]) -> None:
    fed, _ = portions(room, waiting, {})
    assert sum(fed.values()) == min(room, sum(waiting.values()))
    assert all(0 <= count <= waiting[step] for step, count in fed.items())


@given(st.lists(st.integers(0, 20), min_size=1, max_size=60))
def test_every_priority_gets_its_share_however_small_the_portions_are(rooms: list[int]) -> None:
    left = Counter({HIGH: 10_000, NORMAL: 10_000, LOW: 10_000})
    had: Counter[int] = Counter()
    credit: dict[int, int] = {}
    for room in rooms:
        fed, earned = portions(room, left, credit)
        had.update(fed)
        credit = dict(earned)
    for step, share in SHARES.items():
        assert had[step] >= sum(rooms) * share // sum(SHARES.values()) - 1


def test_where_one_room_at_a_time_comes_free_the_least_urgent_is_not_starved() -> None:
    credit: dict[int, int] = {}
    fed: Counter[int] = Counter()
    for _ in range(160):
        portion, earned = portions(1, {HIGH: 500, LOW: 500}, credit)
        fed.update(portion)
        credit = dict(earned)
    assert 10 <= fed[LOW] <= 14
    assert fed[HIGH] == 160 - fed[LOW]


def test_the_urgent_go_first() -> None:
    assert portions(2, {HIGH: 5, NORMAL: 5, LOW: 5}, {})[0] == {HIGH: 2}


@given(st.lists(st.integers(0, 9)), st.lists(st.integers(10, 19)))
def test_two_lines_take_turns_and_keep_their_order(one: list[int], other: list[int]) -> None:
    both = alternating(one, other)
    assert [each for each in both if each < 10] == one
    assert [each for each in both if each >= 10] == other
    shorter = min(len(one), len(other))
    assert all(both[2 * n] < 10 <= both[2 * n + 1] for n in range(shorter))


@pytest.mark.parametrize(
    ("jobs", "ended", "seconds", "left"), [(0, 0, 60, 0.0), (120, 60, 60, 120.0), (10, 5, 10, 20.0), (10, 0, 60, None)]
)
def test_the_time_left_is_told_by_what_ended_lately(jobs: int, ended: int, seconds: float, left: float | None) -> None:
    assert seconds_left(jobs, ended, seconds) == left
