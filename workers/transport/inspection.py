"""How much waits and runs in each lane."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from workers.transport.foreign import Foreign
from workers.transport.keys import Keys, lane_of


@dataclass(frozen=True)
class Depth:
    """Messages of one lane: ready by priority step (0 most urgent), waiting for their time, held by workers."""

    ready: dict[int, int]
    delayed: int
    unacked: int


def depths(client: Foreign, lanes: Sequence[str], keys: Keys | None = None) -> dict[str, Depth]:
    """The depth of each lane, read in one round trip, over a client without key prefix.

    Messages held by a stock Celery worker are not counted: its entries do not say from which lane they are.
    """
    keys = keys or Keys()
    with client.pipeline(transaction=False) as pipe:
        pipe.zrange(keys.unacked_index, 0, -1)
        for lane in lanes:
            pipe.zcard(keys.delayed(lane))
            for step in keys.steps:
                pipe.llen(keys.ready(lane, step))
        tags, *counts = pipe.execute()
    unacked = Counter(lane_of(tag.decode() if isinstance(tag, bytes) else tag) for tag in tags)
    found = {}
    for lane in lanes:
        delayed, *ready = counts[: 1 + len(keys.steps)]
        del counts[: 1 + len(keys.steps)]
        found[lane] = Depth(dict(zip(keys.steps, ready, strict=True)), delayed, unacked[lane])
    return found
