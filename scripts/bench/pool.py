"""What a task costs on the asyncio pool: CPU per no-op task, memory per task in flight.

    python -m scripts.bench.pool [--tasks 5000] [--in-flight 1000] [--stock-transport]

Starts its own Valkey and one worker process, and stops both. CPU is the worker's own, user and system, so it does not
depend on what else the machine does. Takes well under a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # as a file, too: the packages are two folders up
    sys.path.insert(0, str(Path(__file__).parents[2]))

from scripts.stack.valkey import ValkeyServer
from workers.pool import AsyncioCelery
from workers.transport import install

BROKER_URL = "DOCMILL_BENCH_BROKER_URL"
STOCK_TRANSPORT = "DOCMILL_BENCH_STOCK_TRANSPORT"
CONCURRENCY = 1000


def configuration() -> dict[str, Any]:
    """Celery's configuration, from the environment that `running_worker` makes."""
    return {
        "broker_url": os.environ[BROKER_URL],
        "broker_connection_retry_on_startup": True,
        "worker_pool": "workers.pool:AsyncioPool",
        "worker_concurrency": CONCURRENCY,
        "worker_prefetch_multiplier": 1,
        "worker_drain_timeout_s": 0,
        "task_acks_late": True,
        "task_ignore_result": True,
    }


app = AsyncioCelery("bench")
app.add_defaults(configuration)
if not os.environ.get(STOCK_TRANSPORT):
    install(app)


@app.task(name="nothing")  # by name: run as a script, this module is called otherwise than in the worker
async def nothing() -> None:
    """A task without work: what is measured is the way to it and back."""


@app.task(name="wait")
async def wait(seconds: float) -> None:
    """A task in flight."""
    await asyncio.sleep(seconds)


class WorkerProcess:
    """What the kernel says about the worker."""

    def __init__(self, pid: int) -> None:
        self.folder = Path(f"/proc/{pid}")

    def cpu_s(self) -> float:
        """User and system time of all its threads so far."""
        fields = (self.folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mb(self) -> float:
        """Resident memory."""
        return int((self.folder / "status").read_text().split("VmRSS:")[1].split()[0]) / 1024


@contextmanager
def running_worker() -> Iterator[WorkerProcess]:
    """A worker of this module's app on a Valkey of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-pool-") as folder:
        server = ValkeyServer(Path(folder) / "valkey")
        server.start()
        os.environ[BROKER_URL] = server.url
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "scripts.bench.pool", "worker", "-l", "ERROR"],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: bool(app.control.ping(timeout=0.5)))
            yield WorkerProcess(process.pid)
        finally:
            process.terminate()
            process.wait(30)
            app.close()
            server.stop()


def wait_until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    """Poll a condition. Raises `TimeoutError`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the worker did not get there in {timeout_s} s")
        time.sleep(0.1)


def pool_stats() -> dict[str, Any]:
    """The worker's own word: tasks done so far, and its pool's numbers."""
    (reply,) = app.control.broadcast("stats", reply=True, timeout=5, limit=1) or []
    (stats,) = reply.values()
    return {**stats["pool"], "done": sum(stats["total"].values())}


def send(task: Any, count: int, *args: object) -> None:  # noqa: ANN401 - a Celery task has no useful type
    """Publish `count` messages over one connection."""
    with app.producer_or_acquire() as producer:
        for _ in range(count):
            task.apply_async(args, producer=producer)


def measure_cpu(worker: WorkerProcess, tasks: int) -> tuple[float, float]:
    """CPU milliseconds per no-op task, and tasks per second, for a backlog of `tasks`."""
    app.control.cancel_consumer("celery", reply=True, limit=1)
    send(nothing, tasks)
    done = pool_stats()["done"]
    cpu_s, began = worker.cpu_s(), time.monotonic()
    app.control.add_consumer("celery", reply=True, limit=1)
    wait_until(lambda: pool_stats()["done"] >= done + tasks and pool_stats()["in-flight"] == 0)
    return (worker.cpu_s() - cpu_s) / tasks * 1000, tasks / (time.monotonic() - began)


def measure_memory(worker: WorkerProcess, in_flight: int) -> float:
    """Megabytes of resident memory for each task in flight."""
    rss_mb = worker.rss_mb()
    send(wait, in_flight, 5)
    wait_until(lambda: pool_stats()["in-flight"] == in_flight)
    return (worker.rss_mb() - rss_mb) / in_flight


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=5000, help="no-op tasks to run (default 5000)")
    parser.add_argument("--in-flight", type=int, default=CONCURRENCY, help=f"at most {CONCURRENCY} (the default)")
    parser.add_argument("--stock-transport", action="store_true", help="kombu's own Redis transport")
    options = parser.parse_args(argv)
    if options.stock_transport:
        os.environ[STOCK_TRANSPORT] = "1"
    with running_worker() as worker:
        send(nothing, 200)  # warm
        wait_until(lambda: pool_stats()["done"] >= 200)
        memory_mb = measure_memory(worker, min(options.in_flight, CONCURRENCY))
        wait_until(lambda: pool_stats()["in-flight"] == 0)
        cpu_ms, rate = measure_cpu(worker, options.tasks)
    print(f"CPU per no-op task:      {cpu_ms:.3f} ms  ({rate:,.0f} tasks/s)")
    print(f"memory per task in flight: {memory_mb:.4f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
