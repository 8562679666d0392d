"""A job's states and their ways out."""

from __future__ import annotations

import itertools

import pytest

from tasks.model.job import ENDED, JobState, Step, WrongStep, advance, sources

WAYS = {
    ("queued", "claim"): "running",
    ("waiting", "claim"): "running",
    ("parked", "claim"): "running",
    ("running", "settle"): "done",
    ("uncertain", "settle"): "done",
    ("queued", "settle"): "done",
    ("waiting", "settle"): "done",
    ("parked", "settle"): "done",
    ("running", "delay"): "waiting",
    ("running", "park"): "parked",
    ("running", "bury"): "dead",
    ("waiting", "expire"): "dead",
    ("running", "hand_back"): "queued",
    ("running", "lose"): "uncertain",
    ("dead", "replay"): "queued",
    ("uncertain", "replay"): "queued",
    ("queued", "cancel"): "cancelled",
    ("waiting", "cancel"): "cancelled",
    ("parked", "cancel"): "cancelled",
    ("running", "cancel"): "cancelled",
    ("dead", "discard"): "cancelled",
    ("uncertain", "discard"): "cancelled",
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


def test_only_a_person_or_a_late_answer_moves_what_has_ended() -> None:
    steps = {step for state, step in WAYS if state in ENDED}
    assert steps == {"replay", "discard", "settle"}
    assert not [step for state, step in WAYS if state in {"done", "cancelled"}]
