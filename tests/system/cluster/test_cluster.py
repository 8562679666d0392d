"""What a cluster of our workers does, whatever it runs on."""

from __future__ import annotations

import time
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult
from pytest_celery import CeleryTestSetup, CeleryTestWorker
from redis import Redis

LANES = ["docmill.low", "docmill.medium", "docmill.high"]
PATIENCE_S = 30


def send(app: Celery, task: str, argument: object, lane: str = LANES[0]) -> AsyncResult[Any]:
    return app.send_task(f"cluster.{task}", [argument], queue=lane)


def holders(app: Celery) -> set[str]:
    """Workers that have a task in flight, as they say themselves."""
    active = app.control.inspect(timeout=1).active() or {}
    return {worker for worker, tasks in active.items() if tasks}


def wait_for_holder(app: Celery, *, other_than: str = "") -> str:
    """The first worker that has a task in flight."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := holders(app) - {other_than}):
        assert time.monotonic() < deadline, f"no worker took the task in {PATIENCE_S} s"
    return found.pop()


def release(setup: CeleryTestSetup, key: str) -> None:
    """Let `cluster.hold` end."""
    client: Redis = setup.backend.container.client
    with client:
        client.rpush(key, "go")


def test_a_worker_answers_ping(celery_setup: CeleryTestSetup) -> None:
    worker = celery_setup.worker.hostname()
    assert celery_setup.app.control.ping([worker], timeout=5) == [{worker: {"ok": "pong"}}]


def test_every_lane_is_consumed(celery_setup: CeleryTestSetup) -> None:
    results = [send(celery_setup.app, "double", number, lane) for number, lane in enumerate(LANES)]
    assert [result.get(timeout=PATIENCE_S) for result in results] == [0, 2, 4]


def test_two_workers_do_each_task_once(celery_setup: CeleryTestSetup, second_worker: CeleryTestWorker) -> None:
    results = [send(celery_setup.app, "hold", "both", LANES[number % 3]) for number in range(20)]
    both = {celery_setup.worker.hostname(), second_worker.hostname()}
    deadline = time.monotonic() + PATIENCE_S
    while holders(celery_setup.app) != both:
        assert time.monotonic() < deadline, "one worker took all of it"
    for _ in results:
        release(celery_setup, "both")
    assert {result.get(timeout=PATIENCE_S) for result in results} == both


def test_a_killed_workers_task_is_done_by_the_other(
    celery_setup: CeleryTestSetup, second_worker: CeleryTestWorker
) -> None:
    workers = {node.hostname(): node for node in (celery_setup.worker, second_worker)}
    result = send(celery_setup.app, "hold", "killed")
    first = wait_for_holder(celery_setup.app)
    workers[first].kill("SIGKILL")
    other = wait_for_holder(celery_setup.app, other_than=first)
    release(celery_setup, "killed")
    assert result.get(timeout=PATIENCE_S) == other


def test_a_worker_that_is_told_to_stop_finishes_its_task(celery_setup: CeleryTestSetup) -> None:
    result = send(celery_setup.app, "hold", "stopping")
    wait_for_holder(celery_setup.app)
    celery_setup.worker.kill("SIGTERM")
    celery_setup.worker.wait_for_log("Warm shutdown")
    release(celery_setup, "stopping")
    assert result.get(timeout=PATIENCE_S) == celery_setup.worker.hostname()


def test_a_revoked_task_is_cancelled_and_its_worker_goes_on(celery_setup: CeleryTestSetup) -> None:
    result = send(celery_setup.app, "hold", "revoked")
    wait_for_holder(celery_setup.app)
    result.revoke(terminate=True)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=PATIENCE_S)
    assert send(celery_setup.app, "double", 21).get(timeout=PATIENCE_S) == 42
