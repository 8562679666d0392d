"""The ledger against the far side's bill, call by call, while 5 % of requests go wrong and workers are killed.

    python -m scripts.bench.money [--jobs 3000] [--kills 8] [--seed 1] [--workers 2]

Documents of mixed recipes, complexities and models run through real workers: long prompts above a model's dearer
threshold, prompt caching, US-only inference where a model has it, answers cut off, refused, truncated or silent, and
`kill -9` for a random worker now and then. Then every charged request is either booked to the nano-dollar, or
belongs to a call that the ledger itself says may have been billed. Exit code 1 where one is neither.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from config.catalogue import Complexity
from scripts.bench.mill import Child, Mill
from tasks.model.call import CallState
from tasks.rules.billing import BillLine, read_bill
from tasks.rules.pricing import dollars
from tasks.rules.reconciling import compare_requests
from workers.intake import Source, Taken, read
from workers.ledger import Database
from workers.ledger.billing import answered_calls
from workers.ledger.prices import Miscounted, recompute
from workers.ledger.tables import calls, jobs
from workers.producer import Receipt, Wish

FAULTS = {
    **dict.fromkeys(("429", "529", "500", "error_event", "truncated", "refusal", "bad_output"), 0.005),
    **dict.fromkeys(("cut", "silent_end", "badjson"), 0.004),
    "hang": 0.003,
}
"""5 % in all: refused before they are charged, charged and answered to no use, and charged without an answer."""
DEFAULTS = {"cache_control": {"type": "ephemeral"}, "inference_geo": "us"}
SETTINGS = {"on_crash": "retry", "silence_timeout_s": 3.0}
WITHIN_S = 600.0
LONG_CHARACTERS = 450_000
"""Over 100,000 tokens as the simulator counts them."""
WORDS = (
    "The",
    "parcel",
    "came",
    "late",
    "and",
    "two",
    "of",
    "its",
    "boxes",
    "had",
    "been",
    "opened",
    "on",
    "the",
    "way",
)


Asked = tuple[str, str]
"""A document and the model that was asked."""


@dataclass(frozen=True, slots=True)
class Lot:
    """Documents of a kind: the share of the jobs, what is asked, and how long they are."""

    share: float
    wish: Wish
    characters: int


LOTS = (
    Lot(0.38, Wish(recipe="summarize"), 900),
    Lot(0.20, Wish(recipe="classify"), 600),
    Lot(0.10, Wish(recipe="extract-entities", complexity=Complexity.MEDIUM), 15_000),
    Lot(0.15, Wish(recipe="summarize", complexity=Complexity.HIGH), 8_000),
    Lot(0.06, Wish(recipe="summarize", model="claude-sonnet-5-5"), 4_000),
    Lot(0.06, Wish(recipe="classify", model="claude-haiku-5-5"), 3_000),
    Lot(0.05, Wish(recipe="extract-entities", model="claude-opus-5-5"), 3_000),
)
LONG = Lot(0.005, Wish(recipe="summarize", model="claude-haiku-5-5"), LONG_CHARACTERS)
DEAR = Lot(0.02, Wish(recipe="summarize", complexity=Complexity.HIGH, again=True), 20_000)


@dataclass(slots=True)
class Explained:
    """Each nano-dollar of the bill, by where it is."""

    billed_nanousd: int = 0
    booked_nanousd: int = 0
    """Of requests whose answers the ledger has, to the nano-dollar."""
    unknown_nanousd: int = 0
    """Of requests that belong to a call of unknown cost."""
    unexplained: list[str] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    unknown_calls: int = 0
    unknown_estimate_nanousd: int = 0
    """What the unknown calls that were billed would cost at most."""
    underestimated: int = 0
    """Unknown calls that were billed above their estimate, which knows of nothing written to the cache."""
    miscounted: list[Miscounted] = field(default_factory=list)

    @property
    def unexplained_nanousd(self) -> int:
        """What is left of the bill, or booked beyond it."""
        return self.billed_nanousd - self.booked_nanousd - self.unknown_nanousd

    @property
    def holds(self) -> bool:
        """Whether nothing is left to explain."""
        return not (self.unexplained or self.unexplained_nanousd or self.miscounted)


def explain(database: Database, rows: Sequence[Mapping[str, Any]]) -> Explained:
    """Match the bill's rows with the ledger's calls, one to one."""
    bill = read_bill(json.dumps(rows)) if rows else []
    documents = {row["request_id"]: row["document"] for row in rows}
    found = Explained(billed_nanousd=sum(line.cost_nanousd or 0 for line in bill))
    answered = list(answered_calls(database, since=None, until=None))
    matched = compare_requests(bill, answered)
    found.requests["booked as billed"] = matched.equal
    found.booked_nanousd = sum(call.cost_nanousd or 0 for call in answered)
    found.unexplained += [f"{line.request_id}: booked otherwise as {call.id}" for line, call in matched.different]
    found.unexplained += [f"{call.id}: booked, and not billed" for call in matched.unbilled if call.cost_nanousd != 0]
    unknown = database.read(_unknown_calls)
    found.unknown_calls = sum(map(len, unknown.values()))
    for line in matched.unbooked:
        _explain_unbooked(line, documents[line.request_id or ""], unknown, found)
    found.requests["unknown calls that were not billed"] = sum(map(len, unknown.values()))
    found.miscounted = list(recompute(database))
    return found


def _explain_unbooked(line: BillLine, document: str, unknown: dict[Asked, list[int]], found: Explained) -> None:
    mine = unknown[document, line.model]
    if not mine:
        found.unexplained.append(f"{line.request_id}: {document} was billed, and no call of it is unknown")
        return
    estimate, billed = mine.pop(0), line.cost_nanousd or 0
    found.requests["billed to an unknown call"] += 1
    found.unknown_nanousd += billed
    found.unknown_estimate_nanousd += estimate
    found.underestimated += billed > estimate


def _unknown_calls(connection: Connection) -> dict[Asked, list[int]]:
    """Estimates of the calls that may have been billed, in the order they were sent."""
    wanted = (
        select(jobs.c.name, calls.c.model, calls.c.estimate_nanousd)
        .join(calls, calls.c.job_id == jobs.c.id)
        .where(calls.c.state == CallState.UNKNOWN.value)
        .order_by(calls.c.sent_at)
    )
    found: dict[Asked, list[int]] = defaultdict(list)
    for name, model, estimate in connection.execute(wanted):
        found[name, model].append(estimate or 0)
    return found


def documents(lot: Lot, count: int, name: str, chance: random.Random) -> Iterator[Taken]:
    """Texts that tell their own names to the far side, so that both sides speak of the same document."""
    for number in range(count):
        called = f"{name}-{number}"
        length = chance.randint(lot.characters // 2, lot.characters) if lot is not LONG else lot.characters
        text = f"{{{{sim:doc:{called}}}}} {called} " + " ".join(chance.choices(WORDS, k=length // 4))
        yield Taken(Source(called, text), read(text[: max(length, 40)].encode(), called))


def submit_all(mill: Mill, count: int, seed: int) -> list[Receipt]:
    """The jobs, in lots."""
    chance = random.Random(seed)
    return [
        mill.producer.submit_documents(
            documents(lot, max(2, round(lot.share * count)), f"lot{number}", chance), lot.wish
        )
        for number, lot in enumerate((*LOTS, LONG))
    ]


def submit_dear(mill: Mill, count: int, seed: int) -> Receipt:
    """Long prompts for the strong model, each time the same ones, and each time asked."""
    taken = documents(DEAR, max(2, round(DEAR.share * count)), "dear", random.Random(seed))
    return mill.producer.submit_documents(taken, DEAR.wish)


def run(home: Path, *, count: int, seed: int, workers: int, kills: int) -> tuple[Explained, Mapping[str, Any]]:
    """Run it all on a fresh docmill; what came of the money, and how it went."""
    simulator = {"seed": seed, "latency": "uniform:0.05,0.4", "defaults": DEFAULTS}
    with Mill(home, faults=FAULTS, simulator=simulator, settings=SETTINGS) as mill:
        mill.start_beat()
        crew = [mill.spawn_worker() for _ in range(workers)]
        mill.until(lambda: all(worker.ready for worker in crew), "the workers are up", wait_s=60)
        receipts = submit_all(mill, count, seed)
        killed = _finish(mill, crew, receipts, random.Random(seed), kills)
        for _ in range(2):  # the second time, the far side has their prompts in its cache
            receipts.append(submit_dear(mill, count, seed))
            _finish(mill, crew, receipts, random.Random(seed), 0)
        bill = mill.bill()
        mill.stop_workers()  # what a worker still keeps, it writes now
        (home / "bill.json").write_text(json.dumps({"requests": bill}))
        states: Counter[str] = Counter()
        for receipt in receipts:
            states.update({state.value: n for state, n in mill.states(receipt).items()})
        how = {"jobs": dict(states), "kills": killed, "requests": len(bill)}
        return explain(mill.producer.database, bill), how | mill.producer.database.read(_kinds)


def _kinds(connection: Connection) -> dict[str, Any]:
    """What there was beside plain input and output: calls by multiplier, and cached tokens."""
    factors = connection.execute(select(calls.c.multipliers).where(calls.c.multipliers.is_not(None))).scalars()
    cached = ("cache_write_5m_tokens", "cache_read_tokens")
    sums = connection.execute(select(*(func.coalesce(func.sum(calls.c[name]), 0) for name in cached))).one()
    by_factor = Counter(name for told in factors for name in told)
    return {"multiplied": dict(by_factor), **dict(zip(cached, map(int, sums), strict=True))}


def _finish(mill: Mill, crew: list[Child], receipts: Sequence[Receipt], chance: random.Random, kills: int) -> int:
    """Let all jobs end, killing workers on the way and putting others in their place; how many were killed.

    The kills are spread over the jobs, not over time, so that a slow machine's workers get to do something.
    """
    total, killed = sum(map(mill.unfinished, receipts)), 0
    deadline = time.monotonic() + WITHIN_S
    while left := sum(map(mill.unfinished, receipts)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not done within {WITHIN_S:.0f} s: {[mill.states(receipt) for receipt in receipts]}")
        ready = [worker for worker in crew if worker.ready]
        if killed < kills and ready and total - left >= (killed + 1) * total // (kills + 2):
            victim = chance.choice(ready)
            victim.process.kill()
            victim.process.wait()
            crew[crew.index(victim)] = mill.spawn_worker()
            killed += 1
        time.sleep(0.1)
    return killed


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=3_000)
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="docmill-money-") as scratch:
        found, how = run(Path(scratch), count=args.jobs, seed=args.seed, workers=args.workers, kills=args.kills)
    print(f"jobs         {how['jobs']}, {how['kills']} workers killed, {how['requests']} requests")
    print(
        f"of these     calls with multipliers: {how['multiplied']}; tokens written to the cache "
        f"{how['cache_write_5m_tokens']:,}, read from it {how['cache_read_tokens']:,}"
    )
    print(f"billed       {found.billed_nanousd:>18,} nano-dollars ({dollars(found.billed_nanousd)})")
    print(
        f"booked       {found.booked_nanousd:>18,} for {found.requests['booked as billed']:,} requests, each as billed"
    )
    print(
        f"unknown      {found.unknown_nanousd:>18,} for {found.requests['billed to an unknown call']:,} of "
        f"{found.unknown_calls:,} calls of unknown cost, estimated {found.unknown_estimate_nanousd:,}; "
        f"{found.underestimated} above their estimate"
    )
    print(f"unexplained  {found.unexplained_nanousd:>18,}")
    for line in (*found.unexplained, *(f"{each.call_id}: {each.why}" for each in found.miscounted)):
        print(f"  {line}")
    print("every nano-dollar is explained" if found.holds else "NOT EXPLAINED")
    return 0 if found.holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
