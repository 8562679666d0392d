"""What docmill costs beside the calls themselves: CPU per job of a worker against bare asyncio and the same SDK.

    python -m scripts.bench.overhead

Same machine, same simulator with no latency, same letters, so many in flight on both sides. A worker's CPU is its whole
process's, from idle to all jobs done: claims, ledger, acks, events, log lines. CPU time, not wall time. On a shared
machine a second of it is worth more or less from one moment to the next: the two take turns, and sums are compared.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from config.settings import Settings
from scripts.bench.letters import RECIPE, letter
from scripts.simulator.process import SimulatorProcess
from scripts.stack.valkey import ValkeyServer
from tasks.model.job import ENDED, JobState
from workers.intake import Source, Taken, read
from workers.ledger import health, progress
from workers.producer import Producer, Wish

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """CPU seconds, user and system, of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def rss_mb(pid: int) -> float:
    """Resident memory of a process, in megabytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def bare_ms(url: str, jobs: int, in_flight: int) -> float:
    """CPU milliseconds per call of bare asyncio."""
    command = [sys.executable, "-m", "scripts.bench.bare", url, "--jobs", str(jobs), "--in-flight", str(in_flight)]
    return float(subprocess.check_output(command, text=True)) / jobs * 1000


@contextmanager
def worker(home: Path, simulator_url: str, in_flight: int) -> Iterator[tuple[int, Producer]]:
    """A worker process on a fresh data folder, ready and idle: its pid, and a producer for it."""
    with ExitStack() as stack:
        valkey = ValkeyServer(home / "valkey")
        valkey.start()
        stack.callback(valkey.stop)
        lanes = "".join(f"[lanes.{lane}]\nconcurrency = {in_flight}\n" for lane in ("low", "medium", "high"))
        (home / "catalogue.toml").write_text(lanes)
        (home / "recipes").mkdir()
        (home / "recipes" / "bench.toml").write_text(
            f'system = "{RECIPE.system}"\ninstruction = "{RECIPE.instruction}"\nmax_tokens = {RECIPE.max_tokens}\n'
        )
        os.environ |= {
            "DOCMILL_HOME": str(home),
            "DOCMILL_REDIS_URL": valkey.url,
            "ANTHROPIC_API_KEY": "bench",
            "ANTHROPIC_BASE_URL": simulator_url,
        }
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        producer = stack.enter_context(Producer.open(Settings()))
        with (home / "worker.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "workers.app", "worker", "--hostname", "bench@localhost"],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            wait_until_idle(process, producer)
            yield process.pid, producer
        finally:
            process.terminate()
            process.wait(60)


def wait_until_idle(process: subprocess.Popen[bytes], producer: Producer, *, wait_s: float = 60) -> None:
    """Return once the worker has reported itself in the ledger and its start-up has calmed down."""
    deadline = time.monotonic() + wait_s
    used = -1.0
    while time.monotonic() < deadline and process.poll() is None:
        before, used = used, cpu_s(process.pid)
        if health(producer.database).workers and used - before < 0.02:
            return
        time.sleep(0.5)
    raise RuntimeError("the worker did not come up: see worker.log in its data folder")


def worker_ms(pid: int, producer: Producer, jobs: int) -> float:
    """CPU milliseconds per job of a docmill worker."""
    before = cpu_s(pid)
    letters = ((f"letter-{number}", letter(number)) for number in range(jobs))
    documents = (Taken(Source(name, text), read(text.encode(), name)) for name, text in letters)
    receipt = producer.submit_documents(documents, Wish(recipe=RECIPE.name, again=True))
    wait_until_done(producer, receipt.submission_id, jobs)
    return (cpu_s(pid) - before) / jobs * 1000


def wait_until_done(producer: Producer, submission_id: str, jobs: int, *, wait_s: float = 300) -> None:
    """Return once every job has ended; all must be done. Raises `RuntimeError` otherwise."""
    deadline = time.monotonic() + wait_s
    while True:
        states = progress(producer.database, submission_id)
        if sum(states[state] for state in ENDED) == jobs:
            break
        if time.monotonic() > deadline:
            raise RuntimeError(f"after {wait_s:.0f} s: {states}")
        time.sleep(0.2)
    if states[JobState.DONE] != jobs:
        raise RuntimeError(f"not all done: {states}")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--in-flight", type=int, default=100)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args(argv)
    bare_sum = ours_sum = 0.0
    with (
        tempfile.TemporaryDirectory(prefix="docmill-bench-") as home,
        SimulatorProcess(seed=1, latency="0") as simulator,
        worker(Path(home), simulator.url, args.in_flight) as (pid, producer),
    ):
        for run in range(1, args.runs + 1):
            bare = bare_ms(simulator.url, args.jobs, args.in_flight)
            ours = worker_ms(pid, producer, args.jobs)
            bare_sum, ours_sum = bare_sum + bare, ours_sum + ours
            print(
                f"run {run}: bare {bare:.2f} ms, docmill {ours:.2f} ms CPU per job, ratio {ours / bare:.2f}"
                f" ({rss_mb(pid):.0f} MB)",
                flush=True,
            )
    ratio = ours_sum / bare_sum
    print(f"ratio {ratio:.2f} over {args.runs} runs of {args.jobs} jobs, {args.in_flight} in flight")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
