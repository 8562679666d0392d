"""How much of a lane's line is fed to the broker, whose turn it is, and how long the rest will take.

Jobs wait in the ledger, and the broker holds seconds of work: what was fed cannot be overtaken any more, so the less of
it there is, the sooner a submission that comes late gets its turn. `workers.feeder` carries it out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import TypeVar

AHEAD_S = 2.0
"""The broker holds what ends in so many seconds: some periods of the feeder's, should one be late."""
LEAST, MOST = 10, 5_000
"""Messages of a lane that are ready: a few where jobs end once a minute, and never more than this, delayed ones too."""
HEAD = 64
"""What a submitter publishes itself where nothing waits, so that a small submission need not wait for a feeder."""
RATE_MEMORY_S = 2.0
"""How far back a lane's rate looks."""
SHORTEST_S = 0.001
"""A moment that tells nothing of a rate."""
SHARES: Mapping[int, int] = {0: 12, 3: 3, 6: 1}
"""Of a lane, by priority step, while jobs of each wait: of 16 jobs fed, 12 are of high priority and 1 is of low."""

T = TypeVar("T")


def next_depth(ended_per_s: float, free: int) -> int:
    """How many messages of a lane should be ready: one for each `free` slot of all workers, and some seconds' more."""
    return min(MOST, max(LEAST, math.ceil(AHEAD_S * ended_per_s)) + max(0, free))


def to_feed(depth: int, ready: int, delayed: int) -> int:
    """How many messages to feed a lane that should have `depth` ready: 0 where the broker holds as many as it may.

    Those that wait for their time count: were all jobs told to wait, as by a budget that is nearly used up, the whole
    line would move into the broker otherwise.
    """
    return max(0, min(depth - ready, MOST - ready - delayed))


def next_rate(ended_per_s: float, ended: int, seconds: float) -> float:
    """The rate after so many jobs have ended in so long. It forgets: a wave that ends at once is no rate to feed by."""
    if seconds < SHORTEST_S:
        return ended_per_s
    weight = -math.expm1(-seconds / RATE_MEMORY_S)
    return ended_per_s + weight * (max(0, ended) / seconds - ended_per_s)


def portions(
    room: int, waiting: Mapping[int, int], credit: Mapping[int, int]
) -> tuple[Mapping[int, int], Mapping[int, int]]:
    """How many of each priority step to feed, and the credit to bring along next time.

    Smooth weighted round robin by `SHARES`: over any stretch in which a step waits it gets its share, less one job. All
    room is used where enough waits. `waiting` may have any steps; one without a share counts as the least.
    """
    left = {step: count for step, count in waiting.items() if count > 0}
    if len(left) < 2:
        return {step: min(room, count) for step, count in left.items()}, {}
    earned = {step: credit.get(step, 0) for step in left}
    fed: Counter[int] = Counter()
    for _ in range(min(room, sum(left.values()))):
        for step in left:
            earned[step] += _share(step)
        chosen = max(left, key=lambda step: (earned[step], -step))
        earned[chosen] -= sum(map(_share, left))
        fed[chosen] += 1
        left[chosen] -= 1
        if not left[chosen]:
            del left[chosen], earned[chosen]
    return fed, earned


def _share(step: int) -> int:
    return SHARES.get(step, min(SHARES.values()))


def alternating(one: Sequence[T], other: Sequence[T]) -> list[T]:
    """Both in their order, taking turns while both have some."""
    nothing = object()
    return [each for pair in zip_longest(one, other, fillvalue=nothing) for each in pair if each is not nothing]  # type: ignore[misc]  # the mark is left out


def seconds_left(jobs: int, ended: int, seconds: float) -> float | None:
    """How long so many jobs will take at the rate at which others ended lately; None where none did."""
    if not jobs:
        return 0.0
    return jobs * seconds / ended if ended > 0 and seconds > 0 else None
