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


@pytest.mark.parametrize(("task", "seconds"), [("block_the_loop", 6), ("block_the_loop_in_a_child", 3)])
def test_a_blocked_loop_is_reported_while_it_is_blocked(
    start_worker: Callable[..., Worker], task: str, seconds: float
) -> None:
    worker = start_worker()
    sent = worker.send(task, seconds, ignore_result=True)  # two children, one after the other: 6 s as well
    reported_first = re.compile(r"the loop is blocked for(?s:.*)the loop goes on, \d+\.\d s late")
    wait_until(lambda: reported_first.search(worker.log.read_text()), explain=worker.tail)
    log = worker.log.read_text()
    # After 1.0 to 1.5 s, and as much later as the machine stood still.
    assert re.search(rf"blocked for [1-4]\.\d s by \S*{task}\[{sent.id}\]", log)
    assert "time.sleep(seconds)" in log, "the stack shows the line"
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
