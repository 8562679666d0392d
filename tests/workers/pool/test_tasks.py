"""What a task can do on the pool."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from celery import chain, chord, group
from celery.canvas import Signature

from tests.workers.pool.conftest import Worker, wait_until

TASKS = "tests.workers.pool.worker_app"


def step(worker: Worker, task: str, *args: Any, **options: Any) -> Signature[Any]:
    return worker.app.signature(f"{TASKS}.{task}", args, options=options)


def test_a_coroutine_task_runs_and_its_result_is_stored(worker: Worker) -> None:
    assert worker.call("add", 1, 2) == 3


def test_request_and_context_are_right_in_200_interleaved_tasks(worker: Worker) -> None:
    results = [worker.send("who_am_i", f"mark-{n}") for n in range(200)]
    for n, result in enumerate(results):
        assert set(result.get(timeout=30)) == {f"{result.id} {result.id} mark-{n}"}


def test_a_finished_job_is_gone_without_the_garbage_collector(start_worker: Callable[..., Worker]) -> None:
    worker = start_worker()
    before = worker.call("jobs_in_memory")
    for n in range(20):
        worker.call("add", n, n)
    # The count is itself a job, and the consumer lets go of a job when it is told of its end, some milliseconds later.
    wait_until(lambda: worker.call("jobs_in_memory") <= before + 1, explain=worker.tail)


def test_plain_tasks_run_in_threads_and_leave_the_loop_alone(worker: Worker) -> None:
    slow = worker.send("plain", 4)
    assert worker.call("add", 1, 2) == 3
    assert not slow.ready()
    assert slow.get(timeout=20).startswith("def-task")


@pytest.mark.parametrize(
    ("task", "args", "result"),
    [
        ("models", ({"number": 1},), {"number": 2}),
        ("shared", (4,), 8),
        ("retries_plainly", (2,), 2),
        ("waits_for_another", (1,), 2),
        ("awaits_another", (1,), 2),
        ("applies_another", (1,), 2),
    ],
)
def test_celery_features_work_with_coroutines(worker: Worker, task: str, args: tuple[Any, ...], result: Any) -> None:
    assert worker.call(task, *args) == result


def test_class_based_tasks(worker: Worker) -> None:
    assert worker.app.send_task("doubler", (3,)).get(timeout=20) == 6
    assert worker.app.send_task("quadrupler", (3,)).get(timeout=20) == 12


def test_retry_in_a_thread_sees_its_request(worker: Worker) -> None:
    sent = worker.send("retries_off_the_loop", 2)
    assert sent.get(timeout=20) == [2, sent.id]


def test_autoretry(worker: Worker) -> None:
    assert worker.call("retries_by_itself", uuid.uuid4().hex) == 3


def test_a_task_sends_another(worker: Worker) -> None:
    assert worker.app.AsyncResult(worker.call("sends", 1)).get(timeout=20) == 2


def test_chain_group_chord(worker: Worker) -> None:
    assert chain(step(worker, "add", 1, 2), step(worker, "add", 10)).apply_async().get(timeout=20) == 13
    sums = [step(worker, "add", n, n) for n in range(5)]
    assert group(sums).apply_async().get(timeout=20) == [0, 2, 4, 6, 8]
    assert chord(sums, step(worker, "total")).apply_async().get(timeout=20) == 20


def test_errback_of_a_failed_task(worker: Worker) -> None:
    failed = worker.send("fails")
    with pytest.raises(LookupError, match="not here"):
        failed.get(timeout=20)
    assert failed.state == "FAILURE"


@pytest.mark.parametrize("error", ["SystemExit", "KeyboardInterrupt", "CancelledError", "MemoryError", "GeneratorExit"])
def test_what_would_end_a_process_is_a_failure(worker: Worker, error: str) -> None:
    assert_fails_alone(worker, worker.send("escapes", error), error)


@pytest.mark.parametrize("task", ["child_escapes", "plain_exits"])
def test_a_system_exit_elsewhere_is_a_failure_too(worker: Worker, task: str) -> None:
    assert_fails_alone(worker, worker.send(task), "SystemExit")


def assert_fails_alone(worker: Worker, sent: Any, error: str) -> None:
    failure = sent.get(timeout=20, propagate=False)
    assert error in repr(failure)
    assert sent.state == "FAILURE"
    assert worker.call("add", 1, 2) == 3
    assert worker.waiting() == 0
