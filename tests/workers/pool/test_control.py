"""Remote control: what a worker says about itself, and how it is changed while it runs."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from tests.workers.pool.conftest import Worker, wait_until


def test_active_reserved_and_stats(start_worker: Callable[..., Worker]) -> None:
    worker = start_worker(worker_concurrency=2, worker_prefetch_multiplier=2)
    key = uuid.uuid4().hex
    sent = {worker.send("nap", 60, key).id for _ in range(4)}
    running = {name for _, name in worker.notes(key, 2)}
    wait_until(lambda: len(worker.ask("reserved")) == 2)
    assert {task["id"] for task in worker.ask("active")} == running
    assert {task["id"] for task in worker.ask("reserved")} == sent - running

    pool = worker.ask("stats")["pool"]
    assert pool["implementation"] == "workers.pool.pool:AsyncioPool"
    assert (pool["max-concurrency"], pool["in-flight"]) == (2, 2)
    assert pool["loop"] in {"uvloop", "asyncio.unix_events"}
    assert pool["loop-lag-s"] < 1


def test_a_task_revoked_while_it_waits_never_starts(start_worker: Callable[..., Worker]) -> None:
    worker = start_worker(worker_concurrency=1, worker_prefetch_multiplier=4)
    key = uuid.uuid4().hex
    first = worker.send("nap", 60, key)
    waiting = worker.send("nap", 60, key)
    assert worker.notes(key, 1) == [["started", first.id]]
    wait_until(lambda: worker.ask("reserved"))
    waiting.revoke()
    wait_until(lambda: waiting.id in worker.ask("revoked"))
    first.revoke(terminate=True)
    assert worker.notes(key, 1) == [["cancelled", first.id]]
    last = worker.send("nap", 0, key)
    assert worker.notes(key, 2) == [["started", last.id], ["ended", last.id]]


def test_grow_and_shrink(start_worker: Callable[..., Worker]) -> None:
    worker = start_worker(worker_concurrency=2, worker_prefetch_multiplier=4)
    key = uuid.uuid4().hex
    sent = [worker.send("nap", 60, key) for _ in range(8)]
    worker.notes(key, 2)
    assert worker.ask("pool_grow", n=3) == {"ok": "pool will grow"}
    worker.notes(key, 3)
    assert worker.ask("stats")["pool"]["in-flight"] == 5, "growing under a backlog admits as many as it says"

    assert worker.ask("pool_shrink", n=4) == {"ok": "pool will shrink"}
    for task in sent[:4]:
        task.revoke(terminate=True)
    assert sorted(kind for kind, _ in worker.notes(key, 4)) == ["cancelled"] * 4
    wait_until(lambda: worker.ask("stats")["pool"]["in-flight"] == 1)
    assert worker.ask("stats")["pool"]["max-concurrency"] == 1
    assert "at least 1 must be left" in worker.ask("pool_shrink", n=1)["error"]

    sent[4].revoke(terminate=True)
    assert worker.notes(key, 2) == [["cancelled", sent[4].id], ["started", sent[5].id]]


def test_rate_limit(worker: Worker) -> None:
    key = uuid.uuid4().hex
    for _ in range(8):
        worker.send("rated", key, ignore_result=True)
    times = worker.notes(key, 8)
    assert times[-1] - times[0] >= 0.9  # 7 / 5, but for a first note that came late
    assert (
        "new rate limit set"
        in worker.ask("rate_limit", task_name="tests.workers.pool.worker_app.rated", rate_limit="50/s")["ok"]
    )


def test_events(start_worker: Callable[..., Worker]) -> None:
    worker = start_worker(worker_send_task_events=True)
    sent: list[str] = []
    seen: list[str] = []

    def keep(event: dict[str, str]) -> None:
        if not sent:  # a heartbeat: now we are known to listen
            sent.append(worker.send("add", 1, 2).id)
        if event.get("uuid") in sent:
            seen.append(event["type"])
        receiver.should_stop = event["type"] == "task-succeeded"

    with worker.app.connection_for_read() as connection:
        receiver = worker.app.events.Receiver(connection, handlers={"*": keep})
        receiver.capture(limit=None, timeout=10, wakeup=False)
    assert seen == ["task-received", "task-started", "task-succeeded"]
