"""CPU per job of the ledger: submitting, then claim, sending and settle as a worker's coroutines do them.

    python -m scripts.bench.ledger [--jobs 3000] [--in-flight 100] [--url postgresql+psycopg://user@host/empty]

SQLite in a temporary folder unless a URL names an empty database. CPU time of this process with all its threads, so a
busy machine matters less; the best of the rounds counts. Ends within a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import islice
from pathlib import Path

from config.catalogue import Complexity
from config.prices import Price
from config.recipe import Recipe
from tasks.model.call import Call, CallState, Route, Usage
from tasks.model.verdict import Done
from tasks.rules.prompting import shell_hash
from workers.ledger import (
    Added,
    Database,
    GroupedLedger,
    NewDocument,
    NewItem,
    Published,
    add,
    begin_submission,
    job_key,
    mark_published,
    new_id,
    open_database,
    progress,
    results,
    summary,
)

CHUNK = 500
TEXT = "It was the best of times, it was the worst of times. " * 20
ANSWER = "A short answer, as a summary would be. " * 10
SHELL = '{"system": "' + "You summarize. " * 20 + '"}'
SHELL_HASH = shell_hash(SHELL)
ROUTE = Route("claude-haiku-4-5-20251001", 1000, "complexity low", stream=False, deadline_s=40.0)
PRICE = Price(
    model=ROUTE.model,
    input=Decimal(1),
    output=Decimal(5),
    cache_write_5m=Decimal("1.25"),
    cache_write_1h=Decimal(2),
    cache_read=Decimal("0.1"),
)
RECIPE = Recipe(name="bench", system="You summarize.", instruction="Summarize.", max_tokens=1000)


@dataclass(frozen=True, slots=True)
class Round:
    """CPU microseconds per job, and rows that a second of wall time took."""

    submit: float
    work: float
    rows_per_s: float
    progress_ms: float
    summary_ms: float
    result: float


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=3000, help="per round (default: %(default)s)")
    parser.add_argument("--in-flight", type=int, default=100, help="coroutines (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="the best counts (default: %(default)s)")
    parser.add_argument("--url", help="SQLAlchemy URL of an empty database (default: SQLite)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        url = args.url or f"sqlite:///{Path(folder) / 'ledger.sqlite3'}"
        with open_database(url) as database:
            rounds = [_round(database, url, args.jobs, args.in_flight, number) for number in range(args.rounds)]
            dialect = database.dialect
    best = min(rounds, key=lambda each: each.work)
    print(
        f"{dialect}: {args.jobs} jobs, {args.in_flight} in flight, best of {args.rounds}; CPU in microseconds per job"
    )
    print(f"submit {best.submit:.0f}, claim + sending + settle {best.work:.0f} ({best.rows_per_s:,.0f} rows/s of wall)")
    print(f"reading: progress {best.progress_ms:.1f} ms, summary {best.summary_ms:.1f} ms, results {best.result:.0f}")
    return 0


def _round(database: Database, url: str, jobs: int, in_flight: int, number: int) -> Round:
    items = list(_items(number * jobs, jobs))
    start = time.process_time()
    submission_id, added = _submit(database, items)
    submitted = time.process_time() - start
    worked, wall_s = asyncio.run(_work(url, added, in_flight))
    start = time.process_time()
    counts = progress(database, submission_id)
    asked = time.process_time() - start
    start = time.process_time()
    summary(database, submission_id)
    summed = time.process_time() - start
    start = time.process_time()
    read = sum(result.output is not None for result in results(database, submission_id))
    took = time.process_time() - start
    assert read == jobs == max(counts.values()), "not every job is done"
    rows = 7 * jobs  # its own row three times, its call's twice, two events
    return Round(
        submit=submitted / jobs * 1e6,
        work=worked / jobs * 1e6,
        rows_per_s=rows / wall_s,
        progress_ms=asked * 1e3,
        summary_ms=summed * 1e3,
        result=took / jobs * 1e6,
    )


def _items(first: int, count: int) -> Iterator[NewItem]:
    for position in range(count):
        content = f"{first + position} {TEXT}".encode()
        digest = hashlib.sha256(content).hexdigest()
        key = job_key(digest, "bench", values={}, complexity=Complexity.LOW, model=None)
        document = NewDocument(digest, "text/plain", content, None)
        yield NewItem(position, f"{position}.txt", key, document, RECIPE, {}, Complexity.LOW, "low")


def _submit(database: Database, items: Sequence[NewItem]) -> tuple[str, list[Added]]:
    submission_id = begin_submission(database, recipe=RECIPE.name)
    added: list[Added] = []
    rest = iter(items)
    while chunk := list(islice(rest, CHUNK)):
        new = add(database, submission_id, chunk)
        mark_published(database, [Published(one.job_id, one.generation, f"{one.job_id}.0") for one in new])
        added += new
    return submission_id, added


async def _work(url: str, added: Sequence[Added], in_flight: int) -> tuple[float, float]:
    """CPU and wall seconds that the jobs took."""
    rest = iter(added)
    async with await GroupedLedger.open(url, owner_timeout_s=60) as ledger:

        async def slot() -> None:
            for one in rest:
                await _run(ledger, one)

        cpu_s, wall_s = time.process_time(), time.perf_counter()
        await asyncio.gather(*(slot() for _ in range(in_flight)))
        return time.process_time() - cpu_s, time.perf_counter() - wall_s


async def _run(ledger: GroupedLedger, one: Added) -> None:
    job = await ledger.claim(one.job_id, one.generation)
    assert job is not None
    call = Call(
        id=new_id("call"),
        job_id=job.id,
        attempt=job.attempt,
        generation=job.generation,
        model=ROUTE.model,
        max_tokens=ROUTE.max_tokens,
        shell_hash=SHELL_HASH,
        document_hash=job.document.hash,
        queued_ms=job.queued_ms,
        estimate_nanousd=1_000_000,
    )
    await ledger.sending(job, call, ROUTE, SHELL)
    call = replace(
        call,
        state=CallState.ANSWERED,
        usage=Usage(input=300, output=90),
        cost_nanousd=750_000,
        price=PRICE,
        status=200,
        stop_reason="end_turn",
        first_byte_ms=200,
        total_ms=900,
        text=ANSWER,
    )
    assert await ledger.settle(job, call, Done(ANSWER))


if __name__ == "__main__":
    raise SystemExit(main())
