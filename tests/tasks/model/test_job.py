"""A job's states and their ways out."""

from __future__ import annotations

import itertools

import pytest

from tasks.model.job import ENDED, JobState, Step, WrongStep, advance, sources

WAYS = {
    ("queued", "claim"): "running",
    ("waiting", "claim"): "running",
    ("running", "settle"): "done",
    ("running", "delay"): "waiting",
    ("running", "bury"): "dead",
    ("running", "hand_back"): "queued",
    ("queued", "cancel"): "cancelled",
    ("waiting", "cancel"): "cancelled",
    ("running", "cancel"): "cancelled",
}


@pytest.mark.parametrize(("state", "step"), list(itertools.product(JobState, Step)))
def test_every_state_has_just_these_ways_out(state: JobState, step: Step) -> None:
    if (state, step) in WAYS:
        assert advance(state, step) == WAYS[state, step]
        assert state in sources(step)
    else:
        with pytest.raises(WrongStep, match=f"a {state} job cannot {step}"):
            advance(state, step)
        assert state not in sources(step)


def test_an_end_has_no_way_out() -> None:
    assert {state for state, _ in WAYS}.isdisjoint(ENDED)
