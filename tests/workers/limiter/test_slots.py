"""How many jobs of each lane a process holds: by its limits, and after storms."""

from __future__ import annotations

from tests.values import HAIKU, SONNET, catalogue
from workers.limiter import Slots
from workers.transport import LaneLimits


class Lanes:
    def __init__(self) -> None:
        self.limits = LaneLimits(catalogue().queues)
        self.now = 0.0
        self.slots = Slots(self.limits, catalogue(), clock=lambda: self.now)

    def room(self) -> list[int]:
        return [
            self.limits.room(f"docmill.{name}", held=0, credit=999) for name in ("low", "medium", "high", "suspect")
        ]


def test_only_the_lanes_of_the_class_are_held_to_its_limits() -> None:
    lanes = Lanes()
    assert lanes.room() == [200, 100, 50, 1]
    lanes.slots.suit(HAIKU, 30.2)
    assert lanes.room() == [31, 31, 50, 1]
    lanes.slots.suit(HAIKU, 0)
    assert lanes.room() == [1, 1, 50, 1]
    lanes.slots.suit(HAIKU, float("inf"))
    assert lanes.room() == [200, 100, 50, 1]
    lanes.slots.suit("a model without a lane", 1)


def test_storms_halve_a_models_lanes_which_come_back_step_by_step() -> None:
    lanes = Lanes()
    lanes.slots.halve(SONNET)
    lanes.slots.halve(SONNET)
    assert lanes.room() == [200, 100, 12, 1]
    seen = []
    while lanes.room()[2] < 50:
        lanes.now += 1
        lanes.slots.recover()
        seen.append(lanes.room()[2])
    assert sorted(set(seen)) == [12, 17, 22, 27, 32, 37, 42, 47, 50]
    assert lanes.now == 40


def test_a_storm_halves_what_the_limits_left() -> None:
    lanes = Lanes()
    lanes.slots.suit(SONNET, 20)
    lanes.slots.halve(SONNET)
    assert lanes.room()[2] == 10
    lanes.slots.suit(SONNET, 40)
    assert lanes.room()[2] == 10
    lanes.now = 1_000
    lanes.slots.recover()
    assert lanes.room()[2] == 40
