"""Warm, soft and cold shutdown: what can finish finishes, the rest goes back to the queue, the process ends."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from signal import SIGINT, SIGQUIT, SIGTERM, Signals

import pytest

from tests.workers.pool.conftest import Worker


def short_and_long(worker: Worker) -> tuple[str, str, set[str]]:
    """Have 3 tasks running that wait at a gate and 3 of 60 s, 2 more waiting.

    Returns the list of their notes, the gate, and the ids of the long ones.
    """
    key, gate = uuid.uuid4().hex, uuid.uuid4().hex
    for _ in range(3):
        worker.send("nap_until", gate, key, ignore_result=True)
    long = [worker.send("nap", 60, key, ignore_result=True).id for _ in range(3)]
    assert [kind for kind, _ in worker.notes(key, 6)] == ["started"] * 6
    long += [worker.send("nap", 60, key, ignore_result=True).id for _ in range(2)]
    return key, gate, set(long)


def ids_waiting(worker: Worker) -> set[str]:
    return {json.loads(message)["headers"]["id"] for message in worker.redis.lrange(worker.queue, 0, -1)}


@pytest.mark.parametrize("stop", [[SIGTERM], [SIGINT], [SIGTERM, SIGTERM]], ids=str)
def test_within_the_grace_tasks_finish_and_the_rest_goes_back(
    start_worker: Callable[..., Worker], stop: list[Signals]
) -> None:
    worker = start_worker(worker_concurrency=6, worker_prefetch_multiplier=2, worker_drain_timeout_s=4)
    key, gate, long = short_and_long(worker)
    for number in stop:
        worker.signal(number)
        worker.wait_for_log("shutdown (MainProcess)")
    worker.open(gate)
    worker.wait(40)
    outcome = [kind for kind, _ in worker.notes(key, 6)]
    assert outcome == ["ended"] * 3 + ["cancelled"] * 3
    assert ids_waiting(worker) == long
    assert worker.notes(f"{worker.queue}:closed", 1) == ["asyncio-loop"]


@pytest.mark.parametrize("stop", [[SIGQUIT], [SIGINT, SIGINT], [SIGTERM, SIGQUIT], [SIGQUIT, SIGQUIT]], ids=str)
def test_a_cold_shutdown_hands_everything_back_at_once(
    start_worker: Callable[..., Worker], stop: list[Signals]
) -> None:
    worker = start_worker(worker_concurrency=6, worker_prefetch_multiplier=2, worker_drain_timeout_s=50)
    key = uuid.uuid4().hex
    sent = {worker.send("nap", 60, key, ignore_result=True).id for _ in range(8)}
    worker.notes(key, 6)
    for number in stop:
        worker.signal(number)
        worker.wait_for_log("shutdown (MainProcess)")  # two of a kind that come at once are one
    worker.wait(30)  # of a grace of 50 s
    assert ids_waiting(worker) == sent
    assert worker.held() == 0


def test_a_soft_shutdown_lets_short_tasks_finish(start_worker: Callable[..., Worker]) -> None:
    worker = start_worker(worker_concurrency=6, worker_prefetch_multiplier=2, worker_soft_shutdown_timeout=4)
    key, gate, long = short_and_long(worker)
    worker.signal(SIGQUIT)
    worker.wait_for_log("Initiating Soft Shutdown")
    worker.open(gate)
    worker.wait(40)
    assert [kind for kind, _ in worker.notes(key, 6)] == ["ended"] * 3 + ["cancelled"] * 3
    assert ids_waiting(worker) == long


def test_an_idle_worker_stops_at_once(start_worker: Callable[..., Worker]) -> None:
    worker = start_worker(worker_drain_timeout_s=50)
    worker.signal(SIGTERM)
    assert worker.wait(25) == 0  # of a grace of 50 s


@pytest.mark.parametrize("task", ["block_the_loop", "plain", "stubborn"])
def test_what_cannot_be_stopped_does_not_hold_up_the_exit(start_worker: Callable[..., Worker], task: str) -> None:
    worker = start_worker(worker_drain_timeout_s=0.5)
    key = uuid.uuid4().hex
    worker.send(task, 50, *([key] if task == "stubborn" else []), ignore_result=True)
    worker.wait_for_log("received")
    time.sleep(0.3)
    worker.signal(SIGTERM)
    worker.wait(30)  # of the 50 s that the task takes
    assert worker.waiting() == 1


def test_remote_shutdown_is_warm(start_worker: Callable[..., Worker]) -> None:
    worker = start_worker(worker_drain_timeout_s=10)
    key = uuid.uuid4().hex
    worker.send("nap", 1, key, ignore_result=True)
    worker.notes(key, 1)
    worker.app.control.shutdown(destination=[worker.name])
    worker.wait()
    assert [kind for kind, _ in worker.notes(key, 1)] == ["ended"]
    assert worker.held() == 0
