"""What has to wait, waits in Redis."""

from __future__ import annotations

import os
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.workers.transport.conftest import System, kill, wait_for
from workers.transport import Outgoing, depths, publish_many


def resident_bytes(pid: int) -> int:
    """Memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_countdown_is_kept_in_redis_and_never_runs_early(system: System) -> None:
    system.start_worker("--pool=threads", "--concurrency=4")
    sent_at = time.time()
    for n in range(20):
        system.app.send_task("work", (f"late-{n}",), queue="lane", countdown=5, priority=n % 10)
    wait_for(lambda: depths(system.client, ["lane"])["lane"].delayed == 20)
    assert "received" not in system.log()

    wait_for(lambda: len(system.executions()) == 20)
    early = [n for n in range(20) if system.time_of("start", f"late-{n}") < sent_at + 5]
    assert early == []
    assert max(system.time_of("start", f"late-{n}") for n in range(20)) < sent_at + 15


def test_due_messages_keep_their_priority(system: System) -> None:
    for priority in (9, 0, 5):
        system.app.send_task("work", (f"p{priority}",), queue="lane", countdown=0.2, priority=priority)
    time.sleep(0.3)  # they must all be due before the worker takes the first
    system.start_worker("--pool=solo")
    wait_for(lambda: len(system.executions()) == 3)
    assert system.executions() == ["p0", "p5", "p9"]


def test_a_retry_waits_in_redis_and_runs_once_more(system: System) -> None:
    system.start_worker("--pool=threads", "--concurrency=2")
    system.app.send_task("retry_once", ("again", 1.0), queue="lane")
    wait_for(lambda: depths(system.client, ["lane"])["lane"].delayed == 1)
    wait_for(lambda: system.executions() == ["again"])
    starts = system.executions("start")
    assert starts == ["again", "again"]


def test_a_worker_whose_clock_is_slow_does_not_wait_again(system: System) -> None:
    """The message that is stored has no ETA that a worker could compare with its own clock."""
    soon = datetime.now(UTC) + timedelta(seconds=0.2)
    system.app.send_task("work", ("skewed",), queue="lane", eta=soon)
    (entry,) = system.client.zrange("delayed:lane", 0, -1)
    assert b'"eta": null' in entry


def test_ten_thousand_waiting_retries_cost_a_worker_nothing(system: System) -> None:
    worker = system.start_worker("--pool=threads", "--concurrency=4")
    system.app.send_task("work", ("warm-up",), queue="lane")
    wait_for(lambda: system.executions() == ["warm-up"])
    before = resident_bytes(worker.pid)
    publish_many(system.app, [Outgoing("work", (n,), "lane", countdown_s=600) for n in range(10_000)])
    system.app.send_task("work", ("after",), queue="lane")
    wait_for(lambda: "after" in system.executions())

    assert resident_bytes(worker.pid) - before < 10_000_000
    assert depths(system.client, ["lane"])["lane"].delayed == 10_000


def test_killing_every_worker_does_not_touch_what_waits(system: System) -> None:
    worker = system.start_worker("--pool=threads", "--concurrency=4")
    publish_many(system.app, [Outgoing("work", (n,), "lane", countdown_s=2) for n in range(200)])
    kill(worker)
    system.start_worker("--pool=threads", "--concurrency=4")
    wait_for(lambda: len(system.executions()) >= 200)
    assert Counter(system.executions()) == Counter(str(n) for n in range(200))


@pytest.mark.parametrize("visibility_s", [2])
def test_waiting_longer_than_the_visibility_timeout_runs_once(system: System, visibility_s: int) -> None:
    for _ in range(2):
        system.start_worker("--pool=threads", "--concurrency=4", VISIBILITY_S=visibility_s)
    for n in range(20):
        system.app.send_task("work", (n, 0.1), queue="lane", countdown=3 * visibility_s)
    wait_for(lambda: len(system.executions()) >= 20)
    wait_for(lambda: system.client.hlen("unacked") == 0)
    assert Counter(system.executions("start")) == Counter(str(n) for n in range(20))


def test_purging_a_lane_takes_what_waits_along(system: System) -> None:
    system.app.send_task("work", ("now",), queue="lane")
    system.app.send_task("work", ("later",), queue="lane", countdown=60)
    with system.app.connection_for_write() as connection:
        assert connection.default_channel.queue_purge("lane") == 2
    assert depths(system.client, ["lane"])["lane"].delayed == 0
