"""Paused lanes, over two workers on a real broker."""

from __future__ import annotations

import time
from datetime import timedelta, timezone
from pathlib import Path

import pytest

from tests.workers.transport.conftest import System, kill, wait_for
from workers.transport import Outgoing, Pauses, depths, publish_many


@pytest.fixture
def pauses(system: System) -> Pauses:
    return Pauses(system.client)


def start_two(system: System) -> None:
    for _ in range(2):
        system.start_worker("--pool=threads", "--concurrency=10", lanes="lane,other")


def send(system: System, count: int, *, lane: str = "lane", seconds: float = 0) -> None:
    publish_many(system.app, [Outgoing("work", (f"{lane}-{n}", seconds), lane) for n in range(count)])


def ready(system: System) -> int:
    return sum(depths(system.client, ["lane"])["lane"].ready.values())


def test_a_persons_pause_holds_on_all_workers_until_resumed(system: System, pauses: Pauses) -> None:
    start_two(system)
    assert pauses.pause(["lane"], "a look at the bill", by="anna") == ["lane"]
    send(system, 20)
    send(system, 20, lane="other")
    wait_for(lambda: len(system.executions()) == 20)
    assert all(name.startswith("other") for name in system.executions())
    assert ready(system) == 20
    pause = pauses.read(["lane", "other"])["lane"]
    assert (pause.reason, pause.by, pause.until, pause.is_half_open) == ("a look at the bill", "anna", None, False)
    resumed = time.time()
    assert pauses.resume(["lane", "other"]) == ["lane"]
    wait_for(lambda: len(system.executions()) == 40)
    assert system.time_of("start", "lane-0") - resumed < 5  # within a second on a machine that does nothing else
    assert pauses.read(["lane"]) == {}


def test_a_pause_takes_hold_of_a_busy_lane_within_a_second(system: System, pauses: Pauses) -> None:
    start_two(system)
    send(system, 8000, seconds=0.05)  # 20 s of work
    wait_for(lambda: len(system.executions()) > 50)
    pauses.pause(["lane"], "stop", by="anna")
    paused = time.time()
    wait_for(lambda: system.client.hlen("unacked") == 0)
    assert 0 < ready(system) < 8000
    last = max(system.time_of("start", name) for name in system.executions("start")[-20:])
    assert last - paused < 5  # within a second on a machine that does nothing else


def test_after_a_faults_pause_one_message_goes_at_a_time(system: System, pauses: Pauses) -> None:
    start_two(system)
    pauses.pause(["lane"], "no credit", by="worker", seconds=0.5, fault="BillingStopped")
    send(system, 5, seconds=0.3)
    wait_for(lambda: len(system.executions()) >= 3)
    assert pauses.read(["lane"])["lane"].is_half_open
    starts = [system.time_of("start", f"lane-{n}") for n in range(3)]
    ends = [system.time_of("end", f"lane-{n}") for n in range(3)]
    assert ends[0] < starts[1]
    assert ends[1] < starts[2]
    wait_for(lambda: len(system.executions()) == 5)


def test_one_that_went_well_opens_the_lane(system: System, pauses: Pauses) -> None:
    start_two(system)
    pauses.pause(["lane"], "no credit", by="worker", seconds=0.2, fault="BillingStopped")
    send(system, 10, seconds=60)
    wait_for(lambda: len(system.executions("start")) == 1)
    assert not pauses.opened("lane", took_s=60)  # begun before the pause: it says nothing about the time after
    assert pauses.opened("lane", took_s=0)
    wait_for(lambda: len(system.executions("start")) == 10, timeout_s=20)
    assert pauses.read(["lane"]) == {}


def test_a_trial_whose_worker_dies_is_followed_by_another(system: System, pauses: Pauses) -> None:
    pauses.pause(["lane"], "no credit", by="worker", seconds=0.01, fault="BillingStopped")
    send(system, 2, seconds=60)
    first = system.start_worker("--pool=threads", "--concurrency=10", VISIBILITY_S=2)
    wait_for(lambda: len(system.executions("start")) == 1)
    kill(first)
    system.start_worker("--pool=threads", "--concurrency=10", VISIBILITY_S=2)
    wait_for(lambda: len(system.executions("start")) >= 2)


def test_resuming_by_hand_after_a_fault_tries_one_first(system: System, pauses: Pauses) -> None:
    start_two(system)
    pauses.pause(["lane"], "no credit", by="worker", seconds=600, fault="BillingStopped")
    send(system, 5, seconds=0.3)
    assert pauses.resume(["lane"]) == ["lane"]
    wait_for(lambda: len(system.executions()) == 5)
    assert system.time_of("end", "lane-0") < min(system.time_of("start", f"lane-{n}") for n in range(1, 5))


def test_of_two_pauses_the_one_that_ends_later_holds(system: System, pauses: Pauses) -> None:
    assert pauses.pause(["lane"], "key", by="worker", seconds=60, fault="Unauthorized") == ["lane"]
    since = pauses.read(["lane"])["lane"].since
    assert pauses.pause(["lane"], "rate", by="worker", seconds=5, fault="RateLimited") == []
    assert pauses.pause(["lane"], "key", by="worker", seconds=70, fault="Unauthorized") == []
    assert pauses.read(["lane"])["lane"].reason == "key"
    assert pauses.read(["lane"])["lane"].since == since
    assert pauses.pause(["lane"], "money", by="worker", seconds=900, fault="BillingStopped") == ["lane"]
    assert pauses.pause(["lane"], "holiday", by="anna") == ["lane"]
    assert pauses.pause(["lane"], "key", by="worker", seconds=9_000, fault="Unauthorized") == []
    assert pauses.read(["lane"])["lane"].reason == "holiday"
    assert not pauses.opened("lane", took_s=0)


def test_what_resumes_one_fault_leaves_every_other_pause(system: System, pauses: Pauses) -> None:
    lanes = ["lane", "money", "anna", "open"]
    pauses.pause(["lane"], "key", by="worker", seconds=600, fault="Unauthorized")
    pauses.pause(["money"], "no credit", by="worker", seconds=600, fault="BillingStopped")
    pauses.pause(["anna"], "holiday", by="anna")
    assert pauses.resume(lanes, fault="Unauthorized") == ["lane"]
    left = pauses.read(lanes)
    assert {lane: pause.is_half_open for lane, pause in left.items()} == {"lane": True, "money": False, "anna": False}
    assert pauses.resume(lanes) == ["lane", "money", "anna"]


@pytest.mark.parametrize("seconds", [1e12, 1e300, float("inf"), float("nan")])
def test_a_pause_beyond_every_calendar_can_be_read_and_resumed(system: System, pauses: Pauses, seconds: float) -> None:
    pauses.pause(["lane"], "429", by="worker", seconds=seconds, fault="RateLimited")
    pause = pauses.read(["lane"])["lane"]
    assert pause.until is not None
    assert pause.until.astimezone(timezone(timedelta(hours=14))) > pause.since + timedelta(days=365)
    assert not pause.is_half_open
    assert pauses.resume(["lane"]) == ["lane"]


def test_a_waiting_worker_is_not_kept_busy_by_a_paused_lane(system: System, pauses: Pauses) -> None:
    """Work that may not be taken must not wake anybody over and over."""
    pauses.pause(["lane"], "stop", by="anna")
    send(system, 5)
    system.start_worker("--pool=threads", "--concurrency=2")
    before, since = waits(system), time.monotonic()
    time.sleep(3)
    wait_for(lambda: waits(system) > before)
    assert waits(system) - before <= 2 * (time.monotonic() - since)  # a worker may look once a second


def waits(system: System) -> int:
    """How often anybody has waited for messages so far: not at all yet, where the worker has only just come up."""
    calls: int = system.client.info("commandstats").get("cmdstat_bzpopmin", {}).get("calls", 0)
    return calls


def test_pauses_survive_any_name(system: System, pauses: Pauses, tmp_path: Path) -> None:
    lane = f"größe/{tmp_path.name} x"
    assert pauses.pause([lane], "reason with ünïcode", by="anna") == [lane]
    assert pauses.read([lane])[lane].reason == "reason with ünïcode"
    assert pauses.pause([], "", by="") == pauses.resume([]) == []
