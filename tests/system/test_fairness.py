"""A small submission behind a large one, on real worker processes: the short version of `scripts.bench.fairness`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import redis
from redis import Redis

from scripts.bench.fairness import measure
from tasks.model.job import JobState
from tasks.model.priority import Priority
from tasks.rules.feeding import HEAD
from tests.system.mill import Mill

DOCUMENTS = 2_500
LANE = "docmill.low"


@pytest.mark.timeout(120)
def test_a_small_submission_does_not_wait_for_a_large_one(tmp_path: Path) -> None:
    told = measure(tmp_path, DOCUMENTS, workers=1, latency="uniform:0.5,1.5", wait_s=40)
    assert told.waiting_then > DOCUMENTS / 2
    for start in told.starts:
        assert start.last_s < 15, start  # on a machine that does other things; a second or so on one that does not
    assert told.backlog.looks
    assert told.backlog.most_ready < DOCUMENTS / 2


@pytest.mark.timeout(120)
def test_all_of_it_comes_back_after_the_broker_forgot_everything(tmp_path: Path) -> None:
    with Mill(tmp_path, simulator={"latency": "fixed:0.2"}) as mill:
        receipt = mill.submit(f"letter {number}" for number in range(HEAD + 100))
        with Redis.from_url(mill.valkey.url) as client:
            client.flushall()
        mill.start_worker()
        mill.start_beat()
        results = mill.finish(receipt)
        assert Counter(result.state for result in results) == {JobState.DONE: HEAD + 100}
        assert len([row for row in mill.bill() if row["charged"]]) == HEAD + 100


@pytest.mark.timeout(120)
def test_a_retry_keeps_its_priority(tmp_path: Path) -> None:
    with Mill(tmp_path) as mill:
        mill.start_worker()
        receipt = mill.submit(["{{sim:503x9}} a letter"], priority=Priority.LOW)
        with redis.Redis.from_url(mill.valkey.url) as client:
            entries: list[bytes] = []

            def waits() -> bool:
                entries[:] = client.zrange(f"delayed:{LANE}", 0, -1)
                return len(entries) == 1 and mill.states(receipt) == {JobState.WAITING: 1}

            mill.until(waits, "it waits to be tried again")
        assert entries[0][:1] == b"6"
