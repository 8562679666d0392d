"""Which lanes a fault stops, and what a storm is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.model import fault as faults
from tasks.model.fault import Fault
from tasks.rules.parking import STORM_CALLS, halved, is_storm, recovered, stopped_lanes, storm_pause_s
from tests.values import HAIKU, SONNET, catalogue


@pytest.mark.parametrize("kind", [faults.SpendCap, faults.BillingStopped, faults.Unauthorized])
def test_what_concerns_the_key_stops_every_lane(kind: type[Fault]) -> None:
    assert stopped_lanes(kind("x"), SONNET, catalogue()) is None


@pytest.mark.parametrize("kind", [faults.UnknownModel, faults.RateLimited, faults.Overloaded])
@pytest.mark.parametrize(
    ("model", "lanes"),
    [(HAIKU, ("docmill.low", "docmill.medium")), (SONNET, ("docmill.high",)), ("claude-opus-5-5", ())],
)
def test_what_concerns_a_model_stops_the_lanes_routed_to_it(
    kind: type[Fault], model: str, lanes: tuple[str, ...]
) -> None:
    assert stopped_lanes(kind("x"), model, catalogue()) == lanes


@pytest.mark.parametrize(
    ("overloaded", "calls", "storm"),
    [
        (19, 19, False),
        (10, STORM_CALLS, False),
        (11, STORM_CALLS, True),
        (STORM_CALLS, STORM_CALLS, True),
        (0, 0, False),
    ],
)
def test_a_storm_is_more_than_half_of_the_last_calls(overloaded: int, calls: int, storm: bool) -> None:
    assert is_storm([n < overloaded for n in range(calls)]) is storm


@given(st.none() | st.floats(0, 1_000), st.floats(0, 1, exclude_max=True))
def test_the_rest_after_a_storm_is_short_and_never_less_than_asked(asked_s: float | None, draw: float) -> None:
    pause_s = storm_pause_s(asked_s, draw)
    assert pause_s >= (asked_s or 0)
    assert pause_s <= max(5, asked_s or 0) + 5


@given(st.integers(1, 500), st.integers(0, 40))
def test_a_lane_comes_back_from_storms_step_by_step(most: int, storms: int) -> None:
    slots = most
    for _ in range(storms):
        slots = halved(slots)
        assert slots >= 1
    now = since = 0.0
    while slots < most:
        now += 1
        more, since = recovered(slots, most, since, now)
        assert more - slots <= max(1, most // 10)
        slots = more
    assert now <= 100
