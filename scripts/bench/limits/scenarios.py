"""What the fleet is put through, and what must hold."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scripts.bench.limits.scene import Run, Scenario, letter
from scripts.bench.mill import Mill

LEAST_USE = 0.94
LARGE = "large"
LARGE_EVERY = 33
AWARE_S = 0.25
"""So soon after a 429 every process knows of it; what it sent before that may still arrive."""
STORM_S = 6.0
STORM_RETRY_AFTER_S = 1.0


@dataclass(frozen=True)
class Trial:
    """A scenario, whether it is run until every job has ended, and its judge: what was not as it must be."""

    scenario: Scenario
    judge: Callable[[Run], list[str]]
    to_the_end: bool = False


def letters(input_tokens: int, output_tokens: int) -> Callable[[random.Random], Iterator[str]]:
    """Documents of between half and one and a half of these sizes."""

    def documents(chance: random.Random) -> Iterator[str]:
        while True:
            yield letter(
                chance,
                input_tokens=chance.randint(input_tokens // 2, input_tokens * 3 // 2),
                output_tokens=chance.randint(output_tokens // 2, output_tokens * 3 // 2),
            )

    return documents


def some_large(chance: random.Random) -> Iterator[str]:
    """Small documents, and one of 33 that is larger than what the server's bucket holds."""
    small = letters(500, 30)(chance)
    number = 0
    while True:
        number += 1
        if number % LARGE_EVERY:
            yield next(small)
        else:
            yield f"{{{{sim:doc:{LARGE}-{number}}}}} " + letter(chance, input_tokens=25_000, output_tokens=30)


def no_429s(run: Run) -> list[str]:
    """Nothing was over a limit, from the first call on."""
    return [f"{len(run.limited)} requests were over the limit"] if run.limited else []


def well_used(run: Run) -> list[str]:
    """The limit was used while there was work."""
    return [f"{run.use():.1%} of the limit was used"] if run.use() < LEAST_USE else []


def bound(run: Run) -> list[str]:
    """What the three limits have in common."""
    return no_429s(run) + well_used(run)


def few_429s(run: Run) -> list[str]:
    """Where somebody else takes a part."""
    return [] if run.share_limited < 0.01 else [f"{run.share_limited:.2%} of the requests were over the limit"]


def large_served(run: Run) -> list[str]:
    """Large documents went out in their turn: as many as their share of what was served."""
    large = sum(row["document"].startswith(LARGE) for row in run.rows if row["charged"])
    due = sum(row["charged"] for row in run.rows) / LARGE_EVERY
    late = [] if large >= 0.7 * due - 1 else [f"{large} large documents were served, of about {due:.0f}"]
    return late + few_429s(run)


def learned(run: Run) -> list[str]:
    """Half a minute after the limits were halved they are kept, and used."""
    late = run.start + 30
    halved = run.scenario.limits["rpm"] / 2
    use = run.use(start=late, limit=halved)
    over = [row for row in run.limited if row["at"] > late]
    kept = [] if not over else [f"{len(over)} requests were over the limit half a minute after"]
    return kept + ([] if 0.85 <= use <= 1 else [f"{use:.1%} of the new limit was used"])


def halve(mill: Mill, limits: Mapping[str, float]) -> None:
    """Half of everything, from now on."""
    mill.simulator.configure(limits={"*": {**limits, **{name: limits[name] / 2 for name in ("rpm",)}}})


def restart_redis(mill: Mill) -> None:
    """Killed, its data gone, and back after two seconds."""
    time.sleep(10)
    mill.valkey.kill()
    time.sleep(2)
    mill.valkey.start()


def storm(mill: Mill) -> None:
    """Every request is told 429, for a while."""
    mill.simulator.configure(faults={"429": 1.0})
    time.sleep(STORM_S)
    mill.simulator.configure(faults={})


def patient(run: Run) -> list[str]:
    """After a 429 nobody came sooner than asked, nor all at once, and every job was done."""
    rows, early = [row for row in run.rows if row["at"] >= run.start], 0
    until, told_at = 0.0, 0.0
    for row in rows:
        early += told_at + AWARE_S < row["at"] < until
        if row["outcome"] == "error:429" and row["at"] >= until:
            told_at = row["at"]
            until = row["at"] + row["ms"] / 1000 + (row["retry_after_s"] or 0)
    problems = [f"{early} requests came sooner than asked"] if early else []
    rate = run.scenario.limits["rpm"] / 60
    if run.busiest() > 1.5 * rate + 1:
        problems.append(f"{run.busiest()} requests in a second, at a limit of {rate:.0f}")
    lost = {state: count for state, count in run.states.items() if state != "done"}
    return problems + ([f"not done: {lost}"] if lost else [])


RPM: Mapping[str, float] = {"rpm": 600, "burst_s": 1}
SMALL = letters(200, 40)

TRIALS: Sequence[Trial] = (
    Trial(Scenario("rpm", RPM, SMALL, jobs=1_100), bound),
    Trial(Scenario("itpm", {"itpm": 600_000, "burst_s": 1}, letters(1_000, 40), jobs=1_100, used="input"), bound),
    Trial(Scenario("otpm", {"otpm": 60_000, "burst_s": 1}, letters(200, 100), jobs=1_100, used="output"), bound),
    Trial(Scenario("somebody-else", {"rpm": 600, "burst_s": 5, "taken": 0.3}, SMALL, jobs=1_500, seconds=90), few_429s),
    Trial(
        Scenario("large", {"itpm": 600_000, "burst_s": 1}, some_large, jobs=1_100, used="input", seconds=60),
        large_served,
    ),
    Trial(
        Scenario("halved", RPM, SMALL, jobs=1_100, seconds=60, during=lambda mill: halve(mill, RPM), told=False),
        learned,
    ),
    Trial(Scenario("redis-restarted", RPM, SMALL, jobs=1_100, during=restart_redis), no_429s),
    Trial(Scenario("storm-429", RPM, SMALL, jobs=400, during=storm, seconds=30), patient, to_the_end=True),
)


def told(run: Run) -> dict[str, Any]:
    """A line of the table."""
    return {
        "scenario": run.scenario.name,
        "requests": len(run.rows),
        "used": f"{run.use():.1%}",
        "over the limit": f"{len(run.limited)} ({run.share_limited:.2%})",
        "most in a second": run.busiest(),
    }


def histogram(run: Run) -> str:
    """Requests per second from the measured time on, those over the limit after a slash."""
    last = int(max(row["at"] for row in run.rows) - run.start)
    counts = [[0, 0] for _ in range(last + 1)]
    for row in run.rows:
        second = int(row["at"] - run.start)
        if row["at"] >= run.start:
            counts[second][row["outcome"] == "error:429"] += 1
    return " ".join(f"{ok}/{over}" if over else f"{ok}" for ok, over in counts[:60])
