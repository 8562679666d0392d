"""What becomes of a job whose worker died, or stopped in the midst of it."""

from __future__ import annotations

import itertools
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.rules.judging import DEAD_AFTER, DEAD_ANYWAY, SUSPECT_AFTER, Fate, is_culprit, judge_lost, judge_stopped
from tests.tasks.rules.storms import buried

OnCrash = Literal["hold", "retry"]
policies = st.sampled_from(["hold", "retry"])
counts = st.integers(0, 50)


@pytest.mark.parametrize(
    ("sent", "on_crash", "crashes", "fate"),
    [
        (False, "hold", 0, Fate.AGAIN),
        (False, "hold", 1, Fate.ALONE),
        (False, "retry", 0, Fate.AGAIN),
        (False, "retry", 1, Fate.ALONE),
        (True, "hold", 0, Fate.UNCERTAIN),
        (True, "hold", 1, Fate.UNCERTAIN),
        (True, "retry", 0, Fate.AGAIN),
        (True, "retry", 1, Fate.ALONE),
    ],
)
def test_the_fate_of_a_lost_job(sent: bool, on_crash: OnCrash, crashes: int, fate: Fate) -> None:
    assert judge_lost(sent=sent, on_crash=on_crash, crashes=crashes, alone=False, died_lately=crashes + 1) is fate


@pytest.mark.parametrize(("sent", "on_crash"), list(itertools.product([False, True], ["hold", "retry"])))
def test_a_stop_is_no_death_and_asks_for_nothing_twice_either(sent: bool, on_crash: OnCrash) -> None:
    fate = Fate.UNCERTAIN if sent and on_crash == "hold" else Fate.AGAIN
    assert judge_stopped(sent=sent, on_crash=on_crash) is fate
    assert judge_lost(sent=sent, on_crash=on_crash, crashes=0, alone=False, died_lately=1) is fate


@pytest.mark.parametrize(("sent", "on_crash"), list(itertools.product([False, True], ["hold", "retry"])))
@pytest.mark.parametrize("died_lately", [0, 1, 3, 4])
def test_the_third_death_is_the_last_where_hardly_any_worker_died_without_the_job(
    sent: bool, on_crash: OnCrash, died_lately: int
) -> None:
    assert judge_lost(sent=sent, on_crash=on_crash, crashes=2, alone=True, died_lately=died_lately) is Fate.DEAD


@pytest.mark.parametrize(
    ("deaths", "died_lately", "guilty"),
    [
        (2, 2, False),
        (3, 3, True),
        (3, 4, True),  # one died without it
        (3, 5, False),  # two did
        (4, 5, True),
        (4, 6, False),
        (5, 7, True),
        (9, 40, False),
        (10, 40, True),
        (10, 10_000, True),
    ],
)
def test_deaths_speak_against_a_job_that_was_at_two_thirds_of_them(deaths: int, died_lately: int, guilty: bool) -> None:
    assert is_culprit(deaths, died_lately) is guilty


@given(sent=st.booleans(), on_crash=policies, crashes=counts, died_lately=counts)
def test_nothing_is_buried_for_a_death_among_others(
    sent: bool, on_crash: OnCrash, crashes: int, died_lately: int
) -> None:
    fate = judge_lost(sent=sent, on_crash=on_crash, crashes=crashes, alone=False, died_lately=died_lately)
    assert fate is not Fate.DEAD


@given(sent=st.booleans(), on_crash=policies, crashes=counts, alone=st.booleans(), died_lately=counts)
def test_what_is_asked_again_after_two_deaths_runs_alone(
    sent: bool, on_crash: OnCrash, crashes: int, alone: bool, died_lately: int
) -> None:
    fate = judge_lost(sent=sent, on_crash=on_crash, crashes=crashes, alone=alone, died_lately=died_lately)
    assert fate is not Fate.AGAIN or crashes + 1 < SUSPECT_AFTER


@given(others=counts)
def test_a_document_that_kills_whatever_runs_it_ends(others: int) -> None:
    """However many die beside it, and with each of its deaths the sooner the fewer they are."""
    deaths = next(deaths for deaths in itertools.count(1) if is_culprit(deaths, deaths + others))
    assert deaths == min(max(DEAD_AFTER, 2 * others + 1), DEAD_ANYWAY)


@pytest.mark.parametrize("restart_s", [1.0, 2.0, 3.0])
def test_workers_killed_from_outside_bury_nobody(restart_s: float) -> None:
    """Although dozens of the jobs meet three of the kills, as counting deaths alone would show."""
    seeds = range(20)
    assert sum(buried(seed, restart_s, is_culprit) for seed in seeds) == 0
    assert sum(buried(seed, restart_s, lambda deaths, _: deaths >= DEAD_AFTER) for seed in seeds) > len(seeds)
