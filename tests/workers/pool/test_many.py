"""A thousand tasks in one process."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from tests.workers.pool.conftest import Worker, wait_until


@pytest.mark.alone
def test_a_thousand_tasks_of_5_s_in_one_process(start_worker: Callable[..., Worker]) -> None:
    worker = start_worker(worker_concurrency=1000, mended_transport=True)
    worker.call("nap", 0, uuid.uuid4().hex)
    rss_mb = worker.rss_mb()
    worker.ask("cancel_consumer", queue=worker.queue)  # so that what is measured is the worker, not our sending
    with worker.app.producer_or_acquire() as producer:
        for _ in range(1000):
            worker.send("nap", 5, producer=producer, ignore_result=True)
    robbed_s = worker.robbed_s()
    worker.ask("add_consumer", queue=worker.queue)
    wait_until(lambda: worker.ask("stats")["pool"]["in-flight"] == 1000)
    per_task_mb = (worker.rss_mb() - rss_mb) / 1000
    wait_until(lambda: worker.ask("stats")["pool"]["in-flight"] == 0)
    robbed_s = worker.robbed_s() - robbed_s  # a busy machine is not what we test

    spans = worker.call("recall", "spans")[1:]
    wall_s = max(end for _, end in spans) - min(start for start, _ in spans)
    print(f"{len(spans)} tasks of 5 s in {wall_s:.2f} s ({robbed_s:.2f} s of it robbed), {per_task_mb:.4f} MB each")
    assert len(spans) == 1000
    assert wall_s - robbed_s <= 5 * 1.2
    assert per_task_mb < 0.05
