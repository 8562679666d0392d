"""What beat sends."""

from __future__ import annotations

from config.schedule import UPKEEP_CONCURRENCY, UPKEEP_QUEUE, beat_schedule


def test_every_beat_has_a_slot_of_its_own_and_expires_with_the_next() -> None:
    schedule = beat_schedule(180)
    assert {entry["task"] for entry in schedule.values()} == {"docmill.sweep", "docmill.total", "docmill.alert"}
    assert len(schedule) <= UPKEEP_CONCURRENCY
    for entry in schedule.values():
        assert entry["options"] == {"queue": UPKEEP_QUEUE, "expires": entry["schedule"]}
    assert schedule["total"]["schedule"] == 180
