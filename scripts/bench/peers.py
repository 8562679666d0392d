"""What other task queues cost on the same work: CPU per job of a worker, beside docmill's and bare asyncio's.

    python -m scripts.bench.peers --python PATH [--jobs 1000] [--runs 3] [taskiq arq saq streaq celery-threads]

The same letters, simulator, SDK client and number in flight as `scripts.bench.overhead`, and its way of measuring. The
others need not be in docmill's own environment: PATH is a Python that has them, best that of a virtual environment made
for this. Those it lacks are named and left out. None of them writes a ledger, or would keep a paid answer whose worker
dies; they are what a job costs without that.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from scripts.bench import overhead
from scripts.bench.letters import MAX_TOKENS, MODEL, RECIPE, SYSTEM, letter
from scripts.bench.peer_tasks import PEERS
from scripts.simulator.process import SimulatorProcess
from scripts.stack.valkey import ValkeyServer

TASKS = Path(__file__).with_name("peer_tasks.py")
PACKAGES = {"taskiq": "taskiq taskiq-redis", "celery-threads": "celery[redis]"}
"""What to install, where the name does not say it."""
WARM_UP_JOBS = 100
WAIT_S = 120.0

Measure = Callable[[int], float]
"""CPU milliseconds per job, of so many jobs."""


def missing(python: str, name: str) -> str | None:
    """What this Python lacks for a peer, in words; None where it has everything."""
    asked = subprocess.run([python, str(TASKS), name, "check"], capture_output=True, text=True, check=False)
    if asked.returncode == 0:
        return None
    package = PACKAGES.get(name, name)
    return f"{name}: left out: {asked.stderr.strip().splitlines()[-1]}: {python} -m pip install {package}"


@contextmanager
def peer(python: str, name: str, home: Path, simulator: SimulatorProcess, in_flight: int) -> Iterator[Measure]:
    """A worker of a peer on a Redis of its own, warm and idle."""
    valkey = ValkeyServer(home / name)
    valkey.start()
    setup = {
        "redis": valkey.url,
        "api": simulator.url,
        "in_flight": in_flight,
        "request": {"model": MODEL, "max_tokens": MAX_TOKENS, "system": SYSTEM},
        "instruction": RECIPE.instruction,
    }
    environment = {**os.environ, "BENCH_SETUP": json.dumps(setup), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [python, str(TASKS), name]
    log = (home / f"{name}.log").open("wb")
    process = subprocess.Popen([*command, "worker"], env=environment, stdout=log, stderr=log, start_new_session=True)

    def measure(jobs: int) -> float:
        before, answered = overhead.cpu_s(process.pid), charged(simulator)
        letters = "".join(json.dumps(letter(number)) + "\n" for number in range(jobs))
        subprocess.run([*command, "submit"], env=environment, input=letters, text=True, check=True)
        deadline = time.monotonic() + WAIT_S
        while charged(simulator) < answered + jobs:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name}: {charged(simulator) - answered} of {jobs} jobs\n{last_lines(log.name)}")
            time.sleep(0.2)
        return (calm_cpu_s(process.pid) - before) / jobs * 1000

    try:
        calm_cpu_s(process.pid)
        measure(WARM_UP_JOBS)
        yield measure
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()
        valkey.stop()


def last_lines(log: str) -> str:
    """The end of a log, which is gone with its folder."""
    return "\n".join(Path(log).read_text(errors="replace").splitlines()[-5:])


def charged(simulator: SimulatorProcess) -> int:
    """Requests that the simulator has answered."""
    return int(simulator.bill(totals_only=True)["totals"]["charged"])


def calm_cpu_s(pid: int) -> float:
    """CPU seconds of a process, once it does nothing but wait."""
    used = -1.0
    while (now := overhead.cpu_s(pid)) - used > 0.03:
        used = now
        time.sleep(0.5)
    return now


def main(argv: Sequence[str] | None = None) -> int:
    """Measure one after the other; print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"{', '.join(PEERS)} (default: all)")
    parser.add_argument("--python", required=True, help="a Python that has the peers")
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--in-flight", type=int, default=100)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args(argv)
    if unknown := set(args.peers) - set(PEERS):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}: choose from {', '.join(PEERS)}")
    print(
        f"CPU per job, {args.jobs} jobs, {args.in_flight} in flight, {args.runs} runs; ratios are to bare, run by run"
    )
    with (
        tempfile.TemporaryDirectory(prefix="docmill-bench-") as folder,
        SimulatorProcess(seed=1, latency="0") as simulator,
    ):
        home, failed = Path(folder), False

        def report(name: str, measure: Measure) -> None:
            ratios, costs = [], []
            for _ in range(args.runs):
                bare = overhead.bare_ms(simulator.url, args.jobs, args.in_flight)
                costs.append(measure(args.jobs))
                ratios.append(costs[-1] / bare)
            each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            print(
                f"{name:<15}{statistics.median(costs):6.2f} ms {statistics.median(ratios):6.2f}  ({each})", flush=True
            )

        (home / "docmill").mkdir()
        with overhead.worker(home / "docmill", simulator.url, args.in_flight) as (pid, producer):
            overhead.worker_ms(pid, producer, WARM_UP_JOBS)
            report("docmill", lambda jobs: overhead.worker_ms(pid, producer, jobs))
        for name in args.peers or PEERS:
            lacks = missing(args.python, name)
            if lacks:
                print(lacks, file=sys.stderr)
                continue
            try:
                with peer(args.python, name, home, simulator, args.in_flight) as measure:
                    report(name, measure)
            except (RuntimeError, subprocess.CalledProcessError) as error:
                print(error, file=sys.stderr)
                failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
