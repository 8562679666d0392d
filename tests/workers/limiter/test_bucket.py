"""The script on a real Valkey against the rules in Python, and what several processes see of one bucket."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts.stack.valkey import ValkeyServer
from tasks.rules.limiting import (
    Amounts,
    Bucket,
    Pace,
    capped,
    charged,
    clamped,
    penalised,
    rates,
    refilled,
    reserved,
    taught,
)
from workers.limiter.bucket import LIVES_S, NOT_SAID, Buckets, Memory, Word, bucket_key, processes_key
from workers.limiter.reading import read_limits
from workers.transport import Keys

PACE = Pace()
WHOLE = Pace(slow_start=1)
LIMITS = Amounts(1000, 100_000, 20_000)
FIELDS = ("requests", "input", "output")
CLOCK = 0.25
"""Seconds by which the two clocks of a test may differ, on a busy machine."""
names = (f"key:model-{n}" for n in itertools.count())


@pytest.fixture
def client(shared_valkey: ValkeyServer) -> Iterator[Any]:
    with redis.Redis.from_url(shared_valkey.url) as client:
        yield client


def put(client: Any, name: str, bucket: Bucket) -> None:
    """Write a bucket as the script would have left it."""
    fields: dict[str, float] = {
        "factor": bucket.factor,
        "stepped_at": bucket.stepped_at,
        "born_at": bucket.born_at,
        "at": bucket.at,
        "paused_until": bucket.paused_until,
        "fell_at": max(0.0, bucket.fell_at),
    }
    for n, kind in enumerate(FIELDS):
        fields |= {f"limit:{kind}": bucket.limits[n], f"level:{kind}": bucket.level[n]}
    client.hset(bucket_key(Keys(), name), mapping=fields)


def server_now(client: Any) -> float:
    seconds, microseconds = client.time()
    return float(seconds + microseconds / 1_000_000)


some = st.floats(0, 5_000).map(lambda value: round(value, 3))
amounts = st.builds(Amounts, st.integers(1, 1), st.integers(0, 30_000), st.integers(0, 9_000))
limits = st.builds(Amounts, st.integers(0, 5_000), st.integers(0, 2_000_000), st.integers(0, 400_000))
levels = st.builds(Amounts, st.integers(-300, 100), st.integers(-90_000, 90_000), st.integers(-20_000, 20_000))
unsents = st.builds(Amounts, st.integers(0, 40), st.integers(0, 30_000), st.integers(0, 9_000))
lefts = st.one_of(st.just(NOT_SAID), st.builds(Amounts, *[st.integers(0, 30_000)] * 3))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    known=limits,
    level=levels,
    ago=st.tuples(some, some, some),
    paused_s=st.sampled_from([0.0, 0.0, 30.0]),
    fell_s=st.sampled_from([2.0, 30.0, 90.0]),
    factor=st.floats(0.3, 1.0),
    learned=st.one_of(st.just(Amounts()), limits),
    used=st.builds(Amounts, st.just(0), st.integers(-9_000, 9_000), st.integers(-900, 900)),
    left=lefts,
    penalty=st.sampled_from([(-1.0, 1.0), (-1.0, 1.0), (5.0, 0.85), (60.0, 0.7)]),
    asked=st.lists(amounts, max_size=6),
    unsent=st.tuples(unsents, unsents),
)
def test_the_script_does_as_the_rules_say(
    client: Any,
    known: Amounts,
    level: Amounts,
    ago: tuple[float, float, float],
    paused_s: float,
    fell_s: float,
    factor: float,
    learned: Amounts,
    used: Amounts,
    left: Amounts,
    penalty: tuple[float, float],
    asked: list[Amounts],
    unsent: tuple[Amounts, Amounts],
) -> None:
    name = next(names)
    start = server_now(client)
    bucket = Bucket(
        at=start + paused_s if paused_s else start - ago[0],
        born_at=start - ago[1],
        limits=known,
        level=level,
        factor=factor,
        stepped_at=start - ago[2],
        paused_until=start + paused_s if paused_s else start - 1,
        fell_at=start - fell_s,
    )
    put(client, name, bucket)
    client.hset(bucket_key(Keys(), name), "waiting:other", " ".join(map(str, unsent[1])))
    now = server_now(client)
    said = Buckets(client, Keys(), PACE).tell(
        Word(
            name,
            "p",
            learned=learned,
            used=used,
            remaining=left,
            pause_s=penalty[0],
            cut=penalty[1],
            unsent=unsent[0],
            asked=asked,
        )
    )
    bucket = charged(refilled(taught(bucket, learned, now), PACE, now), used)
    bucket = clamped(capped(bucket, Amounts(*map(sum, zip(*unsent, strict=True))), PACE, now), left)
    if penalty[0] >= 0:
        bucket = penalised(bucket, *penalty, now)
    waits: list[float | None] = []
    for one in asked:
        bucket, wait_s = reserved(bucket, one, PACE, now)
        waits.append(wait_s)
    assert said.limits == bucket.limits
    assert said.factor == pytest.approx(bucket.factor, abs=0.011)
    assert said.pause_s == pytest.approx(max(0, bucket.paused_until - now), abs=CLOCK)
    for expected, got in zip(waits, said.waits_s, strict=True):
        if expected is not None and got >= 0:
            assert got == pytest.approx(expected, abs=CLOCK, rel=0.02)
        elif (expected is None) != (got < 0):
            near = -1 - got if expected is None else expected
            assert near == pytest.approx(PACE.longest_wait_s, abs=1)  # on the very edge
            return  # what follows was asked of another bucket
    rate = rates(bucket, PACE, now)
    for n in range(3):
        if bucket.limits[n]:
            assert said.level[n] == pytest.approx(bucket.level[n], abs=1 + CLOCK * rate[n], rel=0.02)


def test_a_bucket_made_anew_stands_behind_the_turns_that_one_before_it_gave(client: Any) -> None:
    buckets, name = Buckets(client, Keys(), WHOLE), next(names)
    memory = Memory(Amounts(requests=600), 1.0, 600.0)
    rate = 600 / 60 * WHOLE.share
    for process in ("a", "b"):  # of each, the turns that the lost one gave, and those it gave itself since then
        buckets.tell(Word(name, process, unsent=Amounts(requests=30), used=Amounts(requests=10), memory=memory))
    said = buckets.tell(Word(name, "c"))
    assert said.level.requests == pytest.approx(-60, abs=CLOCK * rate)
    again = buckets.tell(Word(name, "a", unsent=Amounts(requests=30)))
    assert again.level.requests == pytest.approx(-60, abs=CLOCK * rate)  # it is brought once


@pytest.mark.parametrize("ago_s", [LIVES_S - 2, LIVES_S + 0.1])
def test_the_script_and_those_who_look_agree_who_has_gone(client: Any, ago_s: float) -> None:
    buckets, name = Buckets(client, Keys(), WHOLE), next(names)
    for process in ("a", "b"):
        buckets.tell(Word(name, process, unsent=Amounts(requests=3)))
    client.zadd(processes_key(Keys(), name), {"a": server_now(client) - ago_s})
    read = next(status for status in read_limits(client) if status.limit_class == name.removeprefix("key:"))
    assert read.processes == buckets.tell(Word(name, "b")).processes == (2 if ago_s < LIVES_S else 1)
    assert read.waiting == 3 * read.processes


@pytest.mark.parametrize(
    ("server", "old", "new", "then"),
    [
        (0, 600, 60, 60),
        (0, 60, 600, 600),
        (0, 60, 0, 0),  # not known again: the next response may say
        (300, 600, 60, 60),
        (300, 60, 600, 600),  # until a response says what the server lets through
        (300, 600, 900, 300),
        (300, 600, 0, 300),
        (300, 0, 60, 60),
    ],
)
def test_the_newest_ceiling_counts_for_a_bucket_in_use(client: Any, server: int, old: int, new: int, then: int) -> None:
    buckets, name = Buckets(client, Keys(), WHOLE), next(names)
    learned = min(server, old) if old else server
    buckets.tell(Word(name, "a", ceiling=Amounts(old), memory=Memory(Amounts(old), 1.0, 0.0)))
    buckets.tell(Word(name, "a", learned=Amounts(learned)))
    assert (
        buckets.tell(Word(name, "b", ceiling=Amounts(new), memory=Memory(Amounts(new), 1.0, 0.0))).limits.requests
        == then
    )
    assert buckets.tell(Word(name, "b")).limits.requests == then
