"""A small submission behind a large one: how soon it starts, and how much the broker holds meanwhile.

    python -m scripts.bench.fairness [--documents 50000] [--workers 3]

A large submission of tiny texts, worker processes, a simulator with latency; once the workers are busy, ten documents
of normal priority, ten of high and ten of low come behind it. Prints for each when the first and the last of them were
asked, and the most messages that the lane had in the broker. Then the large one is cancelled. Seeded; bounded by
`--wait`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import redis

from scripts.bench.mill import Mill
from scripts.bench.overhead import rss_mb
from tasks.model.job import ENDED
from tasks.model.priority import Priority
from workers.ledger import recent, story
from workers.producer import Receipt
from workers.transport import depths

LANE = "docmill.low"
SMALL = 10
LOOK_EVERY_S = 0.1


@dataclass(slots=True)
class Backlog:
    """What was seen of the lane in the broker."""

    most_ready: int = 0
    most: int = 0
    """Ready, or with a worker."""
    looks: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Start:
    """When a small submission's documents were asked, in seconds after they were in the ledger."""

    priority: Priority
    first_s: float
    last_s: float


@dataclass(frozen=True, slots=True)
class Measured:
    """One run."""

    documents: int
    submitted_s: float
    starts: tuple[Start, ...]
    backlog: Backlog
    waiting_then: int
    """Of the large submission, when the small ones came."""
    jobs_per_s: float
    worker_mb: tuple[float, ...]
    """Most memory of each worker process."""
    cancelled_s: float


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m scripts.bench.fairness", description="Small behind large.")
    parser.add_argument("--documents", type=int, default=50_000, metavar="N", help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=3, metavar="N", help="default: %(default)s")
    parser.add_argument("--latency", default="uniform:0.5,1.5", metavar="SPEC", help="default: %(default)s")
    parser.add_argument("--wait", type=float, default=120, metavar="S", help="longest for a step, default: %(default)s")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="docmill-bench-") as folder:
        told = measure(Path(folder), args.documents, workers=args.workers, latency=args.latency, wait_s=args.wait)
    print(f"{told.documents:,} tiny documents submitted in {told.submitted_s:.1f} s, {args.workers} workers")
    print(f"{told.waiting_then:,} of them had not ended, {told.jobs_per_s:.0f} a second did, when {SMALL} more came:")
    for start in told.starts:
        print(f"  {start.priority.value:>6}: first asked after {start.first_s:.1f} s, last after {start.last_s:.1f} s")
    print(f"most in the broker: {told.backlog.most_ready:,} ready, {told.backlog.most:,} with those in flight")
    print(f"worker memory: {', '.join(f'{each:.0f} MB' for each in told.worker_mb)}")
    print(f"the rest cancelled in {told.cancelled_s:.1f} s")
    return 0


def measure(folder: Path, documents: int, *, workers: int, latency: str, wait_s: float) -> Measured:
    """One run on fresh processes in this folder."""
    with Mill(folder, simulator={"latency": latency}) as mill, watching(mill) as backlog:
        pids = [mill.start_worker().pid for _ in range(workers)]
        mill.start_beat()
        began = time.monotonic()
        large = mill.submit(f"Tiny text {number}." for number in range(documents))
        submitted_s = time.monotonic() - began
        ended = documents - mill.unfinished(large)
        mill.until(lambda: documents - mill.unfinished(large) >= ended + 100, "the workers are busy", wait_s=wait_s)
        waiting_then = mill.unfinished(large)
        small = {priority: _submit_small(mill, priority) for priority in Priority}
        for receipt in small.values():
            mill.until(partial(_has_ended, mill, receipt), "the small ones ended", wait_s=wait_s)
        sent, seconds = recent(mill.producer.database, 10.0)[LANE]
        memory = tuple(rss_mb(pid) for pid in pids)
        began = time.monotonic()
        mill.producer.cancel_submission(large.submission_id)
        cancelled_s = time.monotonic() - began
        starts = tuple(_start(mill, priority, receipt) for priority, receipt in small.items())
    return Measured(documents, submitted_s, starts, backlog, waiting_then, sent / seconds, memory, cancelled_s)


def _submit_small(mill: Mill, priority: Priority) -> Receipt:
    return mill.submit([f"A {priority.value} letter {number}." for number in range(SMALL)], priority=priority)


def _has_ended(mill: Mill, receipt: Receipt) -> bool:
    return mill.unfinished(receipt) == 0


def _start(mill: Mill, priority: Priority, receipt: Receipt) -> Start:
    asked = []
    for result in mill.producer.results(receipt.submission_id):
        told = story(mill.producer.database, result.job_id)
        if told is None or result.state not in ENDED:
            raise RuntimeError(f"{result.name} has not ended")
        asked.append((told.calls[0].sent_at - told.job.created_at).total_seconds())
    return Start(priority, min(asked), max(asked))


@contextmanager
def watching(mill: Mill) -> Iterator[Backlog]:
    """Look at the lane in the broker ten times a second, for as long as the block runs."""
    seen, over = Backlog(), threading.Event()

    def look() -> None:
        with redis.Redis.from_url(mill.valkey.url) as client:
            while not over.wait(LOOK_EVERY_S):
                depth = depths(client, [LANE])[LANE]
                ready = sum(depth.ready.values())
                seen.most_ready = max(seen.most_ready, ready)
                seen.most = max(seen.most, ready + depth.unacked)
                seen.looks.append(ready)

    thread = threading.Thread(target=look, name="backlog")
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
