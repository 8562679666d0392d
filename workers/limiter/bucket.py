"""The buckets in Redis: what a worker process tells of one, and what it hears. The decisions are in `limit.lua`.

The client must not prefix keys or decode answers. Its errors pass through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from importlib import resources
from typing import Any

from pydantic import SecretStr

from tasks.rules.limiting import NOTHING, Amounts, Pace
from workers.transport import Keys

NOT_SAID = Amounts(-1, -1, -1)
MILLION = 1_000_000
LIVES_S = 5.0
"""A process that has not spoken for so long has gone."""


def fingerprint(api_key: SecretStr, base_url: str | None) -> str:
    """A name for a key at an address, from which neither can be told."""
    told = f"{base_url or ''}\n{api_key.get_secret_value()}".encode()
    return blake2b(told, digest_size=6, person=b"docmill-limits").hexdigest()


def bucket_key(keys: Keys, name: str) -> str:
    """Hash: the bucket's limits, levels, factor and moments."""
    return f"{keys.prefix}limit:{name}"


def processes_key(keys: Keys, name: str) -> str:
    """Sorted set: the processes that use the bucket, by the second they last spoke."""
    return f"{keys.prefix}limit:{name}:processes"


def index_key(keys: Keys) -> str:
    """Sorted set: names of buckets, by the second they were last used."""
    return f"{keys.prefix}limits"


@dataclass(frozen=True, slots=True)
class Memory:
    """What a process remembers of a bucket, should Redis have lost it."""

    limits: Amounts = NOTHING
    factor: float = 1.0
    age_s: float = -1.0
    """Since its slow start began; negative where it never heard of it."""


@dataclass(frozen=True, slots=True)
class Word:
    """What one process has to say of a bucket."""

    bucket: str
    process: str
    unsent: Amounts = NOTHING
    """Held here by calls whose turn has not come."""
    learned: Amounts = NOTHING
    """Limits as the server last named them; 0 where it did not."""
    ceiling: Amounts = NOT_SAID
    """Limits that we set ourselves, 0 where we set none."""
    memory: Memory = Memory()
    used: Amounts = NOTHING
    """Without having been reserved; negative where less was used than reserved."""
    remaining: Amounts = NOT_SAID
    """As the server last said."""
    pause_s: float = -1.0
    """To pause for after a 429; negative for none."""
    cut: float = 1.0
    """What it leaves of the rate."""
    asked: Sequence[Amounts] = ()
    """Calls that want their turn."""


@dataclass(frozen=True, slots=True)
class Said:
    """What is known of a bucket now."""

    limits: Amounts
    """Per minute; 0 where not known."""
    factor: float
    started: float
    """Share that the slow start has come to."""
    pause_s: float
    level: Amounts
    age_s: float
    processes: int
    """That use it, this one included."""
    waits_s: Sequence[float] = field(default=())
    """For each call that asked: until its turn. Below zero: too long, `-1 - wait`, and nothing is held."""


class Buckets:
    """The buckets of one broker."""

    def __init__(self, client: Any, keys: Keys, pace: Pace) -> None:  # noqa: ANN401 - redis-py's types lack scripts
        self._keys = keys
        self._pace = (pace.credit_s, pace.share, pace.burst_s, pace.slow_start, pace.longest_wait_s, LIVES_S)
        self._limit = client.register_script(resources.files(__package__).joinpath("limit.lua").read_text())

    def tell(self, word: Word) -> Said:
        """Say it, and hear what is known now: one round trip."""
        name = word.bucket
        answer = self._limit(
            [bucket_key(self._keys, name), processes_key(self._keys, name), index_key(self._keys)],
            [
                name,
                word.process,
                *self._pace,
                *word.learned,
                *word.ceiling,
                *word.memory.limits,
                word.memory.factor,
                word.memory.age_s,
                *word.used,
                *word.remaining,
                word.pause_s,
                word.cut,
                *word.unsent,
                *(part for asked in word.asked for part in asked[1:]),
            ],
        )
        return _read(answer)


def _read(answer: Sequence[int]) -> Said:
    return Said(
        limits=Amounts(*answer[0:3]),
        factor=answer[3] / MILLION,
        started=answer[4] / MILLION,
        pause_s=answer[5] / MILLION,
        level=Amounts(*(level / 1000 for level in answer[6:9])),
        age_s=answer[9],
        processes=answer[10],
        waits_s=[wait / MILLION if wait >= 0 else -1 + (wait + 1) / MILLION for wait in answer[11:]],
    )
