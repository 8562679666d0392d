"""Replaying many dead letters: wall time and CPU of a preview, a replay, a paced one, and one with a change.

    python -m scripts.bench.replay [--letters 10000] [--database-url URL]

SQLite in a temporary folder or the database given, which must be empty; the embedded Valkey, no worker. Bounded by the
number of letters: each of the steps is one pass over them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import update

from config.prices import load_prices
from config.settings import Settings
from scripts.bench.letters import letter
from scripts.stack.valkey import ValkeyServer
from tasks.model.job import JobState
from workers.intake import Source, Taken, read
from workers.ledger import Database, LetterFilter
from workers.ledger.tables import jobs
from workers.producer import Producer, Wish
from workers.replaying import Change, DeadLetters


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print a line for each step."""
    parser = argparse.ArgumentParser(prog="python -m scripts.bench.replay", description="Cost of replaying letters.")
    parser.add_argument("--letters", type=int, default=10_000, metavar="N", help="default: %(default)s")
    parser.add_argument("--database-url", default="", metavar="URL", help="default: SQLite")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="docmill-bench-") as folder:
        server = ValkeyServer(Path(folder) / "valkey")
        server.start()
        try:
            settings = Settings(home=Path(folder), database_url=args.database_url, redis_url=SecretStr(server.url))
            with Producer.open(settings) as producer:
                measure(producer, settings, args.letters)
        finally:
            server.stop()
    return 0


def measure(producer: Producer, settings: Settings, letters: int) -> None:
    """Submit so many letters, and have them given up before each step."""
    taken = (Taken(Source(f"letter-{n}", letter(n)), read(letter(n).encode(), f"letter-{n}")) for n in range(letters))
    producer.submit_documents(taken, Wish())
    dead = DeadLetters(producer, load_prices(settings.home))
    print(f"{'step':>12}  {'letters':>9}  {'wall s':>6}  {'CPU s':>6}")
    measure_replay("as it is", producer.database, dead, Change(), None)
    measure_replay("paced", producer.database, dead, Change(), 600)
    measure_replay("changed", producer.database, dead, Change(model="claude-sonnet-4-6", max_tokens=900), None)
    wanted = given_up(producer.database, dead)
    _told("discard", lambda: dead.discard(wanted))


def measure_replay(step: str, database: Database, dead: DeadLetters, change: Change, per_minute: int | None) -> None:
    """Preview and replay all of them."""
    wanted = given_up(database, dead)
    _told("preview", lambda: dead.preview(wanted, change).letters)
    _told(step, lambda: dead.replay(wanted, change, per_minute=per_minute).replayed)


def given_up(database: Database, dead: DeadLetters) -> LetterFilter:
    """Make every queued job a dead letter, at once; the filter that means them."""
    fault = {"fault": "Rejected", "fault_status": 400, "fault_message": "Claude rejects the request (400)"}
    ended = (
        update(jobs)
        .where(jobs.c.state == JobState.QUEUED.value)
        .values(state=JobState.DEAD.value, finished_at=database.now(), **fault)
    )
    database.write(lambda connection: connection.execute(ended))
    time.sleep(0.001)  # a filter as of now leaves out what is given up at this very microsecond
    return dead.as_of_now(LetterFilter(fault="Rejected"))


def _told(step: str, work: Callable[[], int]) -> None:
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    letters = work()
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    print(f"{step:>12}  {letters:9,}  {wall_s:6.2f}  {cpu_s:6.2f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
