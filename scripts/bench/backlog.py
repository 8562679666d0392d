"""A backlog of a million jobs: what the sweeper and the feeder cost, and what the broker holds, also after it forgot.

    python -m scripts.bench.backlog [--jobs 1000000]

One worker and beat on SQLite. Its CPU while its lanes are paused, with nothing waiting and with the backlog; then they
work, and in the midst of it everything in the broker is flushed. Prints the most messages that the lane had in the
broker before and after, and how soon Claude was asked again. Ends within a few minutes, most of them to make the jobs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import redis
from sqlalchemy import Connection, Text, cast, insert, literal, null, select, true

from config.catalogue import Complexity
from scripts.bench.fairness import LANE, watching
from scripts.bench.mill import Mill
from scripts.bench.overhead import cpu_s
from tasks.model.job import JobState
from workers.ledger.tables import jobs
from workers.transport import Pauses

WATCHED_S = 20.0
"""Some sweeps long."""
AGAIN_WITHIN_S = 30.0
COPY = "copied"
"""Ids of the copies begin with it."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One run."""

    jobs: int
    idle: float
    """CPU of a worker with paused lanes, as a share of a core, with nothing waiting."""
    waiting: float
    """The same with the backlog."""
    most_ready: int
    """Messages of the lane ready in the broker, at most."""
    most_ready_after_flush: int
    again_after_s: float
    """From the flush to the next request."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1_000_000, metavar="N", help="default: %(default)s")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="docmill-bench-") as folder:
        told = measure(Path(folder), args.jobs)
    print(f"{told.jobs:,} jobs waiting, lanes paused: {told.waiting:.1%} of a core ({told.idle:.1%} with none)")
    print(f"at work: at most {told.most_ready:,} messages ready in the broker")
    print(f"flushed: asked again after {told.again_after_s:.1f} s, at most {told.most_ready_after_flush:,} ready")
    return 0


def measure(folder: Path, backlog: int, *, watched_s: float = WATCHED_S) -> Measured:
    """One run on fresh processes in this folder. Raises `TimeoutError` where work does not go on."""
    with Mill(folder, simulator={"latency": "fixed:0.5"}) as mill, redis.Redis.from_url(mill.valkey.url) as client:
        pid = mill.start_worker().pid
        mill.start_beat()
        receipt = mill.submit(["A letter."], complexity=Complexity.LOW)
        mill.finish(receipt)
        pauses = Pauses(client)
        pauses.pause([LANE], "the bench looks on", by="bench")
        idle = _busy(pid, watched_s)
        mill.producer.database.write(lambda connection: copy_job(connection, backlog))
        waiting = _busy(pid, watched_s)
        with watching(mill) as seen:
            pauses.resume([LANE])
            asked = mill.requests()
            mill.until(lambda: mill.requests() > asked + 100, "the worker works")
            time.sleep(watched_s / 2)
        client.flushall()
        flushed_at, asked = time.monotonic(), mill.requests() + mill.in_flight()
        with watching(mill) as seen_after:
            mill.until(lambda: mill.requests() > asked, "the worker works again", wait_s=AGAIN_WITHIN_S)
            again_after_s = time.monotonic() - flushed_at
            time.sleep(watched_s)
    return Measured(backlog, idle, waiting, seen.most_ready, seen_after.most_ready, again_after_s)


def copy_job(connection: Connection, count: int) -> None:
    """Put so many queued copies of the one job that there is into its lane's line: no submitter is that fast."""
    numbers = select(literal(1).label("n")).cte("numbers", recursive=True)
    numbers = numbers.union_all(select(numbers.c.n + 1).where(numbers.c.n < count))
    name = literal(f"{COPY}-") + cast(numbers.c.n, Text)
    never = ("published_at", "started_at", "finished_at", "not_before", "tried_since", "token", "owner", "output")
    own = {
        "id": name,
        "key": name,
        "turn": jobs.c.turn + numbers.c.n,
        "state": literal(JobState.QUEUED.value),
        "generation": literal(0),
        **dict.fromkeys(never, null()),
    }
    columns = [column.name for column in jobs.columns]
    copies = select(*(own.get(each, jobs.c[each]) for each in columns)).join_from(jobs, numbers, true())
    connection.execute(insert(jobs).from_select(columns, copies))


def _busy(pid: int, seconds: float) -> float:
    """CPU of a process, as a share of a core."""
    before = cpu_s(pid)
    time.sleep(seconds)
    return (cpu_s(pid) - before) / seconds


if __name__ == "__main__":
    sys.exit(main())
