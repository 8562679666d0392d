"""Which lanes a fault stops, and what a storm is."""

from __future__ import annotations

import pytest

from tasks.model import fault as faults
from tasks.model.fault import Fault
from tasks.rules.parking import STORM_CALLS, is_storm, stopped_lanes
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
