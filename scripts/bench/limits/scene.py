"""One run of several workers against the simulator's buckets, and what the simulator's own rows say of it."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.bench.mill import Mill
from scripts.simulator.bill import IN_FLIGHT
from workers.producer import Receipt

MODEL = "claude-haiku-4-5-20251001"
WORKERS = 3
SETTINGS: Mapping[str, Any] = {"slow_start": 1.0, "owner_timeout_s": 10, "visibility_timeout_s": 60}
WARM_UP_S = 20.0
"""Until the calls of all workers flow and their sizes are learned."""
WORDS = ("river", "letter", "invoice", "parcel", "bridge", "garden", "window", "harbour", "teacher", "valley")


@dataclass(frozen=True)
class Scenario:
    """What is asked of which limits, and what happens meanwhile."""

    name: str
    limits: Mapping[str, float]
    """Of the simulator, per minute."""
    documents: Callable[[random.Random], Iterator[str]]
    """Endless."""
    jobs: int
    """So many are submitted: enough to last."""
    used: str = "requests"
    """The limit that is to be used: requests, input or output."""
    seconds: float = 45.0
    """That are measured, after the warm-up."""
    warm_up_s: float = WARM_UP_S
    latency: str = "lognormal:1,0.4"
    during: Callable[[Mill], None] = lambda _mill: None
    """What happens at the beginning of the measured time; the rest of it begins when this returns."""
    simulator: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    slots: int | None = None
    """Jobs that a worker runs at once; None for the catalogue's number. What it holds before the sizes of calls are
    learned was reserved by careful defaults, and has to go first."""
    told: bool = True
    """Whether the limits stand in the catalogue as our own ceilings, so that the first call knows them."""


@dataclass(frozen=True)
class Run:
    """What came of a scenario."""

    scenario: Scenario
    rows: Sequence[Mapping[str, Any]]
    """The simulator's, in order of arrival."""
    start: float
    """Unix time at which the measured time begins."""
    end: float
    states: Mapping[str, int]

    @property
    def limited(self) -> list[Mapping[str, Any]]:
        """Requests that were over a limit."""
        return [row for row in self.rows if row["outcome"] == "error:429"]

    @property
    def share_limited(self) -> float:
        """Of the requests in the measured time."""
        within = [row for row in self.rows if self.start <= row["at"] < self.end]
        return sum(1 for row in within if row["outcome"] == "error:429") / max(1, len(within))

    def use(self, start: float | None = None, end: float | None = None, limit: float | None = None) -> float:
        """Share of the limit that was used between two moments."""
        start, end = start or self.start, end or self.end
        kind = self.scenario.used
        most = limit or self.scenario.limits[{"requests": "rpm", "input": "itpm", "output": "otpm"}[kind]]
        total: float = sum(_amount(row, kind) for row in self.rows if start <= row["at"] < end and row["charged"])
        return total / (most * (end - start) / 60)

    def busiest(self, seconds: float = 1.0) -> int:
        """Most charged requests within any so many seconds of the measured time."""
        moments = [row["at"] for row in self.rows if row["charged"] and row["at"] >= self.start]
        most = first = 0
        for last, moment in enumerate(moments):
            while moments[first] < moment - seconds:
                first += 1
            most = max(most, last - first + 1)
        return most


def _amount(row: Mapping[str, Any], kind: str) -> float:
    usage = row["usage"]
    if kind == "requests":
        return 1
    if kind == "output":
        return float(usage["output_tokens"])
    return float(usage["input_tokens"] + usage["cache_creation_5m_tokens"] + usage["cache_creation_1h_tokens"])


@contextmanager
def mill_of(scenario: Scenario, home: Path, seed: int, workers: int = WORKERS) -> Iterator[Mill]:
    """A mill whose workers are up."""
    home.mkdir(parents=True, exist_ok=True)
    lines = []
    if scenario.told:
        named = {name: int(scenario.limits[name]) for name in ("rpm", "itpm", "otpm") if name in scenario.limits}
        lines += [f'[limits."{MODEL}"]', *(f"{name} = {limit}" for name, limit in named.items())]
    if scenario.slots is not None:
        lines += ["[lanes.low]", f"concurrency = {scenario.slots}"]
    (home / "catalogue.toml").write_text("\n".join([*lines, ""]))
    simulator = {
        "seed": seed,
        "latency": scenario.latency,
        "limits": {"*": dict(scenario.limits)},
        **scenario.simulator,
    }
    with Mill(home, simulator=simulator, settings={**SETTINGS, **scenario.settings}) as mill:
        spawned = [mill.spawn_worker() for _ in range(workers)]
        mill.until(lambda: all(child.ready for child in spawned), "all workers are up", wait_s=90)
        yield mill


def run(scenario: Scenario, home: Path, *, seed: int = 1, workers: int = WORKERS, to_the_end: bool = False) -> Run:
    """Run it; `to_the_end` waits until every job has ended."""
    with mill_of(scenario, home, seed, workers) as mill:
        documents = scenario.documents(random.Random(seed))
        receipt = mill.submit(next(documents) for _ in range(scenario.jobs))
        begin(mill, receipt)
        time.sleep(scenario.warm_up_s)
        start = time.time()
        scenario.during(mill)
        time.sleep(max(0.0, start + scenario.seconds - time.time()))
        end = time.time()
        if to_the_end:
            mill.until(lambda: mill.unfinished(receipt) == 0, "every job has ended", wait_s=600)
        states = {state.value: count for state, count in mill.states(receipt).items()}
        return Run(scenario, _rows_until(mill, end), start, end, states)


def _rows_until(mill: Mill, end: float) -> list[dict[str, Any]]:
    """The simulator's rows, once those that began before `end` are complete."""
    while True:
        rows = mill.simulator.rows()
        if not any(row["at"] < end and row["outcome"] == IN_FLIGHT for row in rows):
            return rows
        time.sleep(0.5)


def begin(mill: Mill, receipt: Receipt) -> None:
    """Wait for the first call."""
    assert receipt.accepted
    mill.until(lambda: mill.requests() > 0, "the first call is made")


def letter(chance: random.Random, *, input_tokens: int, output_tokens: int) -> str:
    """A document of about so many tokens whose answer has exactly so many."""
    words = " ".join(chance.choice(WORDS) for _ in range(max(1, input_tokens * 4 // 7)))
    return f"{{{{sim:tokens:{max(1, output_tokens)}}}}} {words} {chance.random()}"


def outcomes(rows: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """How many requests ended how."""
    return Counter(row["outcome"] for row in rows)
