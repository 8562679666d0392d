"""A thousand calls in flight through the whole of docmill, in one worker process: time against ideal, memory per call.

    python -m scripts.bench.concurrency [--in-flight 1000] [--jobs 1000 2000]

Each call takes 5 s at the far side. Ideal is as many rounds of 5 s as the jobs need; the time is the simulator's own,
from the first request's arrival to the last answer's end. Memory is the worker's, at its highest less what it had when
idle. Exit code 1 when a limit is exceeded. Ends within a few minutes.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config.catalogue import Complexity
from scripts.bench.letters import letter
from scripts.bench.mill import Mill
from scripts.bench.overhead import cpu_s, rss_mb
from tasks.model.job import JobState
from workers.producer import Receipt

CALL_S = 5.0
MOST_OF_IDEAL = 1.2
MOST_MB_PER_CALL = 0.05
WITHIN_S = 120.0
LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Measured:
    """One run."""

    jobs: int
    took_s: float
    ideal_s: float
    at_once: int
    """Most requests that the far side had open together."""
    idle_mb: float
    peak_mb: float
    cpu_ms: float
    """Of the worker process, per job."""

    @property
    def of_ideal(self) -> float:
        """1 is ideal."""
        return self.took_s / self.ideal_s

    @property
    def mb_per_call(self) -> float:
        """Memory of each call in flight."""
        return (self.peak_mb - self.idle_mb) / self.at_once

    @property
    def kept(self) -> bool:
        """Whether both limits were."""
        return self.of_ideal <= MOST_OF_IDEAL and self.mb_per_call <= MOST_MB_PER_CALL


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print a line for each number of jobs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--in-flight", type=int, default=1000, help="the lane's concurrency (default: %(default)s)")
    parser.add_argument("--jobs", type=int, nargs="+", default=[1000, 2000], help="per run (default: %(default)s)")
    args = parser.parse_args(argv)
    print(f"{args.in_flight} in flight in one worker, calls of {CALL_S:.0f} s")
    print("  jobs  seconds  of ideal  at once  idle MB  peak MB  MB/call  CPU ms")
    kept = True
    for jobs in args.jobs:
        with tempfile.TemporaryDirectory(prefix="docmill-bench-") as home:
            run = measure(Path(home), jobs, args.in_flight)
        print(
            f"{run.jobs:>6}{run.took_s:>9.2f}{run.of_ideal:>10.2f}{run.at_once:>9}{run.idle_mb:>9.0f}{run.peak_mb:>9.0f}"
            f"{run.mb_per_call:>9.3f}{run.cpu_ms:>8.2f}",
            flush=True,
        )
        kept &= run.kept
    print(f"limits: {MOST_OF_IDEAL} of ideal, {MOST_MB_PER_CALL} MB per call: {'kept' if kept else 'EXCEEDED'}")
    return 0 if kept else 1


def measure(home: Path, jobs: int, in_flight: int) -> Measured:
    """One run in a fresh data folder. Raises `TimeoutError` when it takes too long."""
    (home / "catalogue.toml").write_text(f"[lanes.low]\nconcurrency = {in_flight}\n")
    with Mill(home, simulator={"latency": f"fixed:{CALL_S}"}) as mill:
        worker = mill.start_worker()
        pid = worker.pid
        _warm_up(mill)
        idle_mb, idle_s = rss_mb(pid), cpu_s(pid)
        peak_mb = idle_mb
        worker.send_signal(signal.SIGSTOP)  # or the submitter's own second would be counted as the worker's
        receipt = mill.submit([letter(number) for number in range(jobs)], complexity=Complexity.LOW)
        worker.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + WITHIN_S
        while mill.unfinished(receipt):
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {WITHIN_S:.0f} s: {mill.states(receipt)}")
            peak_mb = max(peak_mb, rss_mb(pid))
            time.sleep(LOOK_S)
        used_s = cpu_s(pid) - idle_s
        _all_done(mill, receipt, jobs)
        rows = mill.bill()
    began, ended = min(row["at"] for row in rows), max(map(_end, rows))
    return Measured(
        jobs=jobs,
        took_s=ended - began,
        ideal_s=CALL_S * math.ceil(jobs / in_flight),
        at_once=_most_at_once(rows),
        idle_mb=idle_mb,
        peak_mb=peak_mb,
        cpu_ms=used_s / jobs * 1000,
    )


def _warm_up(mill: Mill) -> None:
    """One call, so that what is loaded at the first is not counted as a call's memory."""
    mill.simulator.configure(latency="0")
    mill.finish(mill.submit(["A first letter."], complexity=Complexity.LOW))
    mill.simulator.configure(latency=f"fixed:{CALL_S}")
    mill.simulator.reset()


def _all_done(mill: Mill, receipt: Receipt, jobs: int) -> None:
    states = mill.states(receipt)
    if states != {JobState.DONE: jobs}:
        raise RuntimeError(f"not all done: {states}")


def _end(row: dict[str, Any]) -> float:
    return float(row["at"]) + float(row["ms"]) / 1000


def _most_at_once(rows: Sequence[dict[str, Any]]) -> int:
    changes: Counter[float] = Counter()
    for row in rows:
        changes[float(row["at"])] += 1
        changes[_end(row)] -= 1
    most = now = 0
    for _, change in sorted(changes.items()):
        now += change
        most = max(most, now)
    return most


if __name__ == "__main__":
    sys.exit(main())
