"""Whose turn is when in a bucket, what a 429 costs, and how many calls are worth holding."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.model.fault import RateLimited
from tasks.rules.limiting import (
    FULL_S,
    LEAST_FACTOR,
    QUEUE_S,
    Amounts,
    Bucket,
    Pace,
    charged,
    clamped,
    cut_of,
    penalised,
    rates,
    refilled,
    reserved,
    slots_needed,
    steered,
    taught,
)

WHOLE = Pace(share=1, slow_start=1, burst_s=1)
"""Sixty a minute are one a second."""
ONE = Amounts(1, 100, 10)


def a_bucket(**changes: object) -> Bucket:
    return replace(Bucket(at=0, born_at=0, limits=Amounts(60, 60_000, 6_000)), **changes)  # type: ignore[arg-type]


asked = st.builds(Amounts, st.just(1.0), st.floats(0, 20_000), st.floats(0, 3_000))
gaps = st.floats(0, 3)


@pytest.mark.parametrize("n", range(3))
@given(st.lists(st.tuples(gaps, asked), max_size=25))
def test_no_window_holds_more_than_its_time_a_burst_and_one_call(n: int, calls: list[tuple[float, Amounts]]) -> None:
    """Of each limit by itself: what another one held back has been paid for here, and may come in a bunch after it."""
    limits = Amounts(*(limit if kind == n else 0 for kind, limit in enumerate(a_bucket().limits)))
    bucket, now, rate = a_bucket(limits=limits), 0.0, limits[n] / 60
    sent: list[tuple[float, float]] = []
    for gap, one in calls:
        now += gap
        bucket, wait_s = reserved(refilled(bucket, WHOLE, now), one, WHOLE, now)
        if wait_s is not None:
            sent.append((now + wait_s, one[n]))
    sent.sort()
    largest = max((amount for _, amount in sent), default=0)
    for first, (start, _) in enumerate(sent):
        total = 0.0
        for moment, amount in sent[first:]:
            total += amount
            # A call that is larger than the bucket waits for a full one, and those behind it pay.
            assert total <= rate * (moment - start) + max(rate, 1) + 2 * largest + 1e-6


@given(st.lists(gaps, max_size=40), asked)
def test_among_equals_nobody_is_overtaken(waits: list[float], one: Amounts) -> None:
    bucket, now, turns = a_bucket(level=Amounts(0, -5_000, -500)), 0.0, []
    for gap in waits:
        now += gap
        bucket, wait_s = reserved(refilled(bucket, WHOLE, now), one, WHOLE, now)
        if wait_s is not None:
            turns.append(now + wait_s)
    assert all(later >= earlier - 1e-6 for earlier, later in itertools.pairwise(turns))


def test_a_backlog_is_spaced_evenly() -> None:
    bucket, waits = a_bucket(), []
    for _ in range(5):
        bucket, wait_s = reserved(bucket, ONE, WHOLE, 0)
        waits.append(wait_s)
    assert waits == [1, 2, 3, 4, 5]


def test_a_turn_too_far_off_holds_nothing() -> None:
    bucket = a_bucket(level=Amounts(-30, 0, 0))
    assert reserved(bucket, ONE, WHOLE, 0) == (bucket, None)


def test_one_larger_than_the_bucket_waits_for_a_full_one_and_the_next_one_pays() -> None:
    bucket, wait_s = reserved(a_bucket(), Amounts(1, 10_000, 0), WHOLE, 0)
    assert wait_s == pytest.approx(FULL_S)  # a little longer, to be sure that the server's is full
    _, next_s = reserved(bucket, ONE, WHOLE, 0)
    assert next_s == pytest.approx(FULL_S - 1 + 10.1)


def test_unknown_limits_are_no_reason_to_wait() -> None:
    bucket = a_bucket(limits=Amounts(), level=Amounts(-1e6, -1e6, -1e6))
    assert reserved(bucket, ONE, WHOLE, 0)[1] == 0


@pytest.mark.parametrize(("minutes", "share"), [(0, 0.1), (1, 0.2), (2, 0.4), (3, 0.8), (4, 1), (1e9, 1)])
def test_a_slow_start_doubles_each_minute(minutes: float, share: float) -> None:
    assert rates(a_bucket(), Pace(share=1), 60 * minutes).requests == pytest.approx(share)


def test_the_first_limits_begin_a_slow_start_with_an_empty_bucket() -> None:
    taught_ = taught(a_bucket(limits=Amounts(), level=Amounts(-9, -9, -9)), Amounts(60, 0, 0), 100)
    assert (taught_.limits, taught_.level, taught_.born_at) == (Amounts(60, 0, 0), Amounts(), 100)


def test_new_limits_change_the_rate_and_not_the_queue() -> None:
    bucket = a_bucket(level=Amounts(-3, 0, 0))
    learned = taught(bucket, Amounts(30, 0, 0), 100)
    assert learned.limits == Amounts(30, 60_000, 6_000)
    assert (learned.level, learned.born_at) == (bucket.level, bucket.born_at)


@given(st.floats(0, 100), st.sampled_from([0.85, 0.7]), st.floats(0, 1_000))
def test_nothing_goes_out_sooner_than_the_server_asked(pause_s: float, cut: float, after_s: float) -> None:
    bucket = penalised(refilled(a_bucket(), WHOLE, 100), pause_s, cut, 100)
    now = 100 + after_s
    patient = replace(WHOLE, longest_wait_s=math.inf)
    _, wait_s = reserved(refilled(bucket, WHOLE, now), Amounts(1), patient, now)
    assert wait_s is not None
    assert now + wait_s >= 100 + pause_s


def test_what_waited_before_a_pause_waits_after_it_and_comes_spaced() -> None:
    bucket = penalised(a_bucket(level=Amounts(-4, 0, 0)), 10, 1, 0)
    bucket, first_s = reserved(bucket, ONE, WHOLE, 0)
    _, second_s = reserved(bucket, ONE, WHOLE, 0)
    assert (first_s, second_s) == (15, 16)


def test_a_429_during_a_pause_is_no_second_cut() -> None:
    once = penalised(a_bucket(), 5, 0.85, 0)
    twice = penalised(once, 8, 0.85, 2)
    assert (twice.factor, twice.paused_until) == (0.85, 10)
    assert penalised(twice, 1, 0.85, 3).paused_until == 10


@pytest.mark.parametrize(("after_s", "factor"), [(0, 1), (9, 1), (10, 0.85), (100, 0.85)])
def test_a_429_soon_after_a_limit_fell_says_nothing_of_the_new_one(after_s: float, factor: float) -> None:
    fallen = taught(a_bucket(), Amounts(30, 0, 0), 1_000)
    bucket = penalised(fallen, 5, 0.85, 1_000 + after_s)
    assert (bucket.factor, bucket.paused_until) == (factor, 1_005 + after_s), "the pause holds all the same"


def test_a_limit_that_goes_up_and_down_excuses_a_429_once_a_minute() -> None:
    bucket = a_bucket()
    for second in range(55):
        bucket = taught(bucket, Amounts(30 if second % 2 else 60, 0, 0), 1_000 + second)
    assert bucket.fell_at == 1_001
    assert penalised(bucket, 1, 0.85, 1_055).factor == 0.85
    assert taught(bucket, Amounts(20, 0, 0), 1_061).fell_at == 1_061


@given(st.integers(1, 40))
def test_the_rate_is_never_cut_below_a_floor_and_comes_back(cuts: int) -> None:
    bucket = a_bucket()
    for n in range(cuts):
        bucket = penalised(bucket, 1, 0.7, 10.0 * n)
    assert bucket.factor >= LEAST_FACTOR
    assert refilled(bucket, WHOLE, 10.0 * cuts + 400).factor == 1


def test_it_comes_back_a_hundredth_every_five_seconds() -> None:
    bucket = penalised(a_bucket(), 1, 0.85, 0)
    assert refilled(bucket, WHOLE, 4.9).factor == 0.85
    assert refilled(bucket, WHOLE, 26).factor == pytest.approx(0.9)


@pytest.mark.parametrize(("code", "cut"), [(None, 0.85), ("rate_limit_error", 0.85), ("ramp_limit_exceeded", 0.7)])
def test_growing_too_fast_is_cut_more(code: str | None, cut: float) -> None:
    assert cut_of(RateLimited("x", code=code)) == cut


@pytest.mark.parametrize(
    ("left", "level"),
    [
        (Amounts(-1, -1, -1), Amounts(5, 5_000, -50)),  # nothing said
        (Amounts(50, 50_000, 5_000), Amounts(5, 5_000, -50)),  # plenty
        (Amounts(2, 1_000, 100), Amounts(2, 1_000, -50)),
    ],
)
def test_little_left_is_believed(left: Amounts, level: Amounts) -> None:
    assert clamped(a_bucket(level=Amounts(5, 5_000, -50)), left).level == level


def test_what_was_not_used_comes_back() -> None:
    assert charged(a_bucket(), Amounts(-1, -100, -10)).level == ONE


@pytest.mark.parametrize(
    ("rate", "per_call", "latency_s", "processes", "needed"),
    [
        (Amounts(10, 0, 0), Amounts(1, 500, 50), 3, 1, 10 * (3 + QUEUE_S)),
        (Amounts(10, 1_000, 0), Amounts(1, 500, 50), 3, 2, 2 * (3 + QUEUE_S) / 2),
        (Amounts(10, 0, 100), Amounts(1, 500, 50), 0, 1, 2 * QUEUE_S),
        (Amounts(), Amounts(1, 500, 50), 3, 1, math.inf),
    ],
)
def test_littles_law(rate: Amounts, per_call: Amounts, latency_s: float, processes: int, needed: float) -> None:
    assert slots_needed(rate, per_call, latency_s, processes) == needed


@given(st.integers(1, 200), st.floats(0, 1e6), st.integers(1, 200))
def test_slots_stay_between_one_and_the_most_and_settle(slots: int, needed: float, most: int) -> None:
    once = steered(min(slots, most), needed, most)
    assert 1 <= once <= most
    assert steered(once, needed, most) == once


@pytest.mark.parametrize(
    ("slots", "needed", "most", "then"),
    [
        (200, math.inf, 200, 200),
        (200, 20, 200, 20),
        (20, 22, 200, 20),
        (20, 24, 200, 24),
        (20, 0, 99, 1),
        (2, 1, 9, 1),
    ],
)
def test_a_small_difference_changes_nothing(slots: int, needed: float, most: int, then: int) -> None:
    assert steered(slots, needed, most) == then
