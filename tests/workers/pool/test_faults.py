"""The broker goes away, or the worker does, with 200 tasks in flight."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable

from scripts.stack.valkey import ValkeyServer
from tests.workers.pool.conftest import Worker, wait_until

IN_FLIGHT = 200


def send_all(worker: Worker) -> tuple[str, str, set[str]]:
    """Have 200 tasks running; the list of their notes, the gate where they wait, and their ids."""
    key, gate = uuid.uuid4().hex, uuid.uuid4().hex
    with worker.app.producer_or_acquire() as producer:
        sent = {worker.send("nap_until", gate, key, producer=producer, ignore_result=True).id for _ in range(IN_FLIGHT)}
    assert {name for _, name in worker.notes(key, IN_FLIGHT)} == sent
    return key, gate, sent


def test_the_broker_dies_and_comes_back_and_each_task_runs_once(
    start_worker: Callable[..., Worker], valkey: ValkeyServer, shared_valkey: ValkeyServer
) -> None:
    worker = start_worker(
        url=valkey.url, notes_url=shared_valkey.url, worker_concurrency=IN_FLIGHT + 50, mended_transport=True
    )
    key, gate, sent = send_all(worker)
    wait_until(lambda: valkey_has_written(worker))
    valkey.kill()
    worker.open(gate)
    half = worker.notes(key, IN_FLIGHT // 2)  # they end while there is no broker
    valkey.start()
    notes = half + worker.notes(key, IN_FLIGHT // 2)
    assert Counter(kind for kind, _ in notes) == {"ended": IN_FLIGHT}
    assert {name for _, name in notes} == sent

    wait_until(lambda: worker.held() == 0, timeout_s=30, explain=worker.tail)
    last = worker.send("nap", 0, key, ignore_result=True)
    assert worker.notes(key, 2) == [["started", last.id], ["ended", last.id]], (
        "it consumes again, and nothing ran twice"
    )
    wait_until(lambda: worker.ask("stats")["pool"]["in-flight"] == 0)


def valkey_has_written(worker: Worker) -> bool:
    """Whether all that was claimed is in the append-only file, which is written each second."""
    return bool(worker.redis.waitaof(1, 0, 2000)[0])


def test_tasks_of_a_killed_worker_run_after_the_restart(
    start_worker: Callable[..., Worker], valkey: ValkeyServer
) -> None:
    worker = start_worker(
        url=valkey.url,
        worker_concurrency=IN_FLIGHT,
        mended_transport=True,
        broker_transport_options={"visibility_timeout": 4, "unacked_restore_interval": 1},
    )
    key, gate, sent = send_all(worker)
    worker.kill()
    worker.open(gate)
    worker.start()
    notes = worker.notes(key, 2 * IN_FLIGHT)
    assert {name for kind, name in notes if kind == "ended"} == sent
