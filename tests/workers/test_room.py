"""A process whose disk is full takes nothing, and goes on by itself once there is room."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from tasks.model.fault import Unkeepable
from workers import room
from workers.room import Room
from workers.transport import LaneLimits

FULL = Unkeepable("spool /there: under 8 MB free on its disk")
QUEUES = ("low", "high")


class Disk:
    """One that is full, until it is not."""

    full = True
    looks = 0

    def check(self) -> None:
        self.looks += 1
        if self.full:
            raise FULL


@pytest.fixture
def limits() -> LaneLimits:
    return LaneLimits({"low": 3, "upkeep": 1})


async def test_the_lanes_of_this_process_stop_and_come_back(
    limits: LaneLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "LOOK_EVERY_S", 0.01)
    disk = Disk()
    there = Room(limits, QUEUES, disk.check)
    with structlog.testing.capture_logs() as said:
        for _ in range(3):
            there.stop(FULL)
        assert limits.paused() == {"low", "high"}, "and the sweeper's lane is not stopped"
        while disk.looks < 3:  # noqa: ASYNC110 - it looks by time
            await asyncio.sleep(0.01)
        assert limits.paused() == {"low", "high"}
        disk.full = False
        while limits.paused():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    assert limits.room("low", held=0, credit=9) == 3
    assert [line["event"] for line in said] == ["process.stopped", "process.goes_on"]


async def test_a_full_disk_stops_it_again(limits: LaneLimits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LOOK_EVERY_S", 0.01)
    disk = Disk()
    there = Room(limits, QUEUES, disk.check)
    for _ in range(2):
        disk.full = True
        there.stop(FULL)
        assert limits.paused()
        disk.full = False
        while limits.paused():  # noqa: ASYNC110 - it looks by time
            await asyncio.sleep(0.01)


async def test_a_closed_one_looks_no_more(limits: LaneLimits) -> None:
    there = Room(limits, QUEUES, Disk().check)
    there.close()
    there.stop(FULL)
    there.close()
    await asyncio.sleep(0)
    assert limits.paused() == {"low", "high"}
