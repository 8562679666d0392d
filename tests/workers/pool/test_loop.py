"""The loop's thread: what runs there, what does not, and what is said when it is blocked."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from signal import SIGCONT, SIGSTOP

import pytest

from tests.workers.pool.conftest import Worker, wait_until


def test_tracer_and_clients_live_on_the_loop_and_acks_on_the_main_thread(worker: Worker) -> None:
    assert worker.call("add", 1, 2) == 3
    assert worker.call("recall", "init_thread") == "asyncio-loop"
    assert worker.call("recall", "loop_threads")[0] == "asyncio-loop"
    assert set(worker.call("recall", "ack_threads")) == {"MainThread"}


@pytest.mark.parametrize("task", ["block_the_loop", "block_the_loop_in_a_child"])
def test_a_blocked_loop_is_reported(start_worker: Callable[..., Worker], task: str) -> None:
    worker = start_worker()
    began = time.monotonic()
    sent = worker.send(task, 2.5, ignore_result=True)
    log = worker.wait_for_log("the loop is blocked for", timeout_s=3)
    assert time.monotonic() - began < 2
    assert re.search(rf"blocked for 1\.\d s by \S*{task}\[{sent.id}\]", log)
    assert "time.sleep(seconds)" in log, "the stack shows the line"
    assert re.search(r"the loop goes on, \d\.\d s late", worker.wait_for_log("the loop goes on", timeout_s=5))
    assert log.count("the loop is blocked for") == 1


def test_a_process_that_was_stopped_is_not_called_blocked(start_worker: Callable[..., Worker]) -> None:
    worker = start_worker()
    worker.signal(SIGSTOP)
    time.sleep(2.5)
    worker.signal(SIGCONT)
    assert "the loop is blocked" not in worker.wait_for_log("the loop goes on")
    assert worker.call("add", 1, 2) == 3


def test_lag_of_an_idle_loop_is_small(worker: Worker) -> None:
    wait_until(lambda: worker.ask("stats")["pool"]["loop-lag-s"] < 0.1)


def test_a_worker_whose_clients_do_not_open_ends(start_worker: Callable[..., Worker]) -> None:
    with pytest.raises(AssertionError, match=r"the worker ended with 1: (?s:.*)no database"):
        start_worker(refuses_to_start=True)


def test_a_broker_without_an_event_loop_is_refused(start_worker: Callable[..., Worker]) -> None:
    with pytest.raises(AssertionError, match=r"set broker_url to redis:// or amqp://"):
        start_worker(broker_url="memory://")
