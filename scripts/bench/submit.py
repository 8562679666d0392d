"""`docmill submit` of many small documents: wall time, CPU and peak memory of the command itself.

    python -m scripts.bench.submit [--documents 10000]

Files in a temporary folder, SQLite, the embedded Valkey, no worker. A tenth of the documents goes first, into another
data folder, to show that memory does not grow with their number. Bounded: a submission gets 120 s.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.bench.letters import letter
from scripts.stack.valkey import ValkeyServer

DEADLINE_S = 120


@dataclass(frozen=True, slots=True)
class Measured:
    """One submission."""

    documents: int
    wall_s: float
    cpu_s: float
    peak_mb: float


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print a line for each size."""
    parser = argparse.ArgumentParser(prog="python -m scripts.bench.submit", description="Cost of `docmill submit`.")
    parser.add_argument("--documents", type=int, default=10_000, metavar="N", help="default: %(default)s")
    args = parser.parse_args(argv)
    print(f"{'documents':>9}  {'wall s':>6}  {'CPU s':>6}  {'CPU us each':>11}  {'peak MB':>7}")
    for documents in (args.documents // 10, args.documents):
        with tempfile.TemporaryDirectory(prefix="docmill-bench-") as folder:
            told = measure(Path(folder), documents)
        each_us = told.cpu_s / documents * 1e6
        print(f"{documents:9,}  {told.wall_s:6.2f}  {told.cpu_s:6.2f}  {each_us:11.0f}  {told.peak_mb:7.1f}")
    return 0


def measure(folder: Path, documents: int) -> Measured:
    """Submit so many letters, each a file of about 2 kB."""
    post = folder / "post"
    post.mkdir()
    for number in range(documents):
        (post / f"letter-{number:06}.txt").write_text(letter(number))
    server = ValkeyServer(folder / "valkey")
    server.start()
    try:
        return _submit(folder, server.url, documents)
    finally:
        server.stop()


def _submit(folder: Path, redis_url: str, documents: int) -> Measured:
    began = time.monotonic()
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "scripts.cli", "submit", str(folder / "post")],
            stdout=said,
            stderr=said,
            env={**os.environ, "DOCMILL_HOME": str(folder / "home"), "DOCMILL_REDIS_URL": redis_url},
        )
    watchdog = threading.Timer(DEADLINE_S, os.kill, (process.pid, signal.SIGKILL))
    watchdog.start()
    _, status, usage = os.wait4(process.pid, 0)  # its own usage, and not that of Valkey beside it
    watchdog.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"docmill submit ended with {process.returncode}: {(folder / 'said').read_text()}")
    return Measured(
        documents=documents,
        wall_s=time.monotonic() - began,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_mb=usage.ru_maxrss / 1024,
    )


if __name__ == "__main__":
    sys.exit(main())
