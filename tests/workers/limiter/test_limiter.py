"""Limiters of several processes on one Valkey, which may go away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, Future
from contextlib import asynccontextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from config.catalogue import RateCeiling
from scripts.stack.valkey import ValkeyServer
from tasks.model.call import Expected, Usage
from tasks.model.fault import NoRoom, RateLimited
from tasks.rules.limiting import Amounts, Pace
from tests.values import HAIKU, SONNET, catalogue
from workers.limiter import Limiter, LimitStatus, Slots, read_limits
from workers.limiter.account import SHARE_LASTS_S
from workers.limiter.bucket import Word
from workers.limiter.limiter import REPORT_S
from workers.transport import LaneLimits, install

ONE = Expected(input=100, most_input=100, output=10, most_output=50)
AS_EXPECTED = Usage(input=100, output=10)
GENEROUS = {
    "anthropic-ratelimit-requests-limit": "1000000",
    "anthropic-ratelimit-input-tokens-limit": "2000000000",
    "anthropic-ratelimit-output-tokens-limit": "400000000",
}


class Fleet:
    """Limiters as of so many processes, and the lanes of the first."""

    def __init__(self, url: str) -> None:
        self.app = Celery("limited", broker=url, set_as_current=False)
        self.app.conf.broker_transport_options = {"socket_timeout": 5, "socket_connect_timeout": 1}
        install(self.app)
        self.url = url
        self.lanes = LaneLimits()

    @asynccontextmanager
    async def limiter(self, process: str, rpm: int | None, pace: Pace) -> AsyncIterator[Limiter]:
        limits = {HAIKU: RateCeiling(rpm=rpm)} if rpm else {}
        chosen = catalogue().model_copy(update={"limits": limits})
        made = Limiter(self.app, chosen, Slots(self.lanes, chosen), key="key", process=process, pace=pace)
        async with made as limiter:
            yield limiter

    def status(self) -> LimitStatus:
        with redis.Redis.from_url(self.url) as client:
            return next(status for status in read_limits(client) if status.limit_class == HAIKU)


@pytest.fixture
def fleet(valkey: ValkeyServer) -> Fleet:
    return Fleet(valkey.url)


WHOLE = Pace(slow_start=1)


async def spend(limiter: Limiter, count: int, name: str) -> list[float]:
    """When each of so many calls that all ask at once got its turn."""

    async def one(number: int) -> float:
        await limiter.admit(f"{name}-{number}", HAIKU, ONE)
        at = time.monotonic()
        limiter.settle(f"{name}-{number}", AS_EXPECTED)
        return at

    return sorted(await asyncio.gather(*(one(number) for number in range(count))))


async def until(condition: Callable[[], bool]) -> None:
    """Poll for what Redis shows."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nothing here sets an event
            await asyncio.sleep(0.01)


async def amid_a_minute(fleet: Fleet) -> None:
    """Wait out the end of the server's minute where it is near: from then on the minute's use counts for less."""
    with redis.Redis.from_url(fleet.url) as client:
        seconds = client.time()[0] % 60
    if seconds >= 54:
        await asyncio.sleep(61 - seconds)


async def test_several_processes_share_one_limit(fleet: Fleet) -> None:
    async with fleet.limiter("a", 1200, WHOLE) as a, fleet.limiter("b", 1200, WHOLE) as b:
        began = time.monotonic()
        turns = sorted(chain(*await asyncio.gather(spend(a, 30, "a"), spend(b, 30, "b"))))
    rate = 1200 / 60 * 0.95
    for number, at in enumerate(turns, start=1):
        assert number <= rate * (at - began) + rate * WHOLE.burst_s + 1
    assert turns[-1] - began < 60 / rate + 1  # and all of it is used


async def test_what_the_headers_say_is_learned_by_all(fleet: Fleet) -> None:
    async with fleet.limiter("a", None, WHOLE) as a, fleet.limiter("b", None, WHOLE) as b:
        await spend(a, 50, "a")
        a.observe(HAIKU, {"anthropic-ratelimit-requests-limit": "60"})
        await until(lambda: fleet.status().limits.requests == 60)
        await asyncio.sleep(SHARE_LASTS_S)  # so long b may go by what it knew
        waiting = asyncio.create_task(spend(b, 100, "c"))
        with pytest.raises(NoRoom) as refused:
            await waiting
        assert (refused.value.retry_after_s or 0) > WHOLE.longest_wait_s
    assert fleet.lanes.room("docmill.low", held=0, credit=500) < 200


async def test_a_429_stops_everybody_for_as_long_as_asked(fleet: Fleet) -> None:
    async with fleet.limiter("a", 6000, WHOLE) as a, fleet.limiter("b", 6000, WHOLE) as b:
        await spend(b, 1, "b")
        began = time.monotonic()
        assert a.throttled(HAIKU, RateLimited("x", retry_after_s=1))
        turns = await spend(a, 5, "a")
        assert turns[0] - began >= 1
        a.throttled(HAIKU, RateLimited("x", retry_after_s=2))
        await until(lambda: fleet.status().paused_until is not None)
        seen = time.monotonic()
        turns = await spend(b, 20, "c")
        assert turns[0] - seen >= 1.5
        assert turns[-1] - turns[0] >= 19 / (6000 / 60 * 0.95) - 0.05  # no wave
    assert fleet.status().share == pytest.approx(0.95 * 0.85 * 0.85)


async def test_a_pause_that_is_too_long_to_wait_out_is_for_the_lane(fleet: Fleet) -> None:
    async with fleet.limiter("a", 6000, WHOLE) as limiter:
        await spend(limiter, 1, "a")
        assert not limiter.throttled(HAIKU, RateLimited("x", retry_after_s=60))
        with pytest.raises(NoRoom):
            await limiter.admit("late", HAIKU, ONE)
        assert not limiter.throttled(SONNET, RateLimited("x", retry_after_s=1))  # no limit is known that would space it


async def test_a_second_word_about_a_call_does_nothing(fleet: Fleet) -> None:
    used = pytest.approx(Amounts(1, 80, 5), abs=0.1)
    async with fleet.limiter("a", 600, WHOLE) as limiter:
        await amid_a_minute(fleet)
        await limiter.admit("t", HAIKU, ONE)
        limiter.settle("t", Usage(input=50, cache_write_5m=30, cache_read=1_000, output=5))
        limiter.settle("t", Usage(input=9_999, output=9_999))
        limiter.release("t")
        limiter.release("never admitted")
        await limiter.admit("u", HAIKU, ONE)
        limiter.release("u")
        await until(lambda: bool(fleet.status().used == used))
        await asyncio.sleep(2 * REPORT_S)  # so long a word more would take
        assert fleet.status().used == used


async def test_one_that_is_cancelled_while_it_waits_holds_nothing(fleet: Fleet) -> None:
    async with fleet.limiter("a", 60, WHOLE) as limiter:
        waiting = [asyncio.create_task(limiter.admit(f"t{n}", HAIKU, ONE)) for n in range(10)]
        await until(lambda: fleet.status().used.requests > 1)  # several hold a place
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        admitted = sum(not task.cancelled() and task.exception() is None for task in waiting)
        await until(lambda: fleet.status().used.requests <= admitted)


class Held(Executor):
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.answer: Future[Any] = Future()

    def submit(self, *_: Any, **__: Any) -> Future[Any]:
        return self.answer


@pytest.mark.parametrize("steps", range(8))
async def test_a_cancellation_that_meets_the_answer_is_not_lost(fleet: Fleet, steps: int) -> None:
    """Else a worker that stops at that moment would wait for ever."""
    async with fleet.limiter("a", 60, WHOLE) as limiter:
        thread, held = limiter._thread, Held()
        limiter._thread = held  # type: ignore[assignment]
        asking = asyncio.create_task(limiter._ask(Word("bucket", "a")))
        await asyncio.sleep(0)
        limiter._thread = thread
        held.answer.set_result(None)
        for _ in range(steps):
            await asyncio.sleep(0)
        if asking.cancel():
            with pytest.raises(asyncio.CancelledError):
                await asking


async def test_generous_limits_cost_next_to_nothing(fleet: Fleet) -> None:
    async with fleet.limiter("a", None, WHOLE) as limiter:
        await spend(limiter, 1, "a")
        limiter.observe(HAIKU, GENEROUS)
        await asyncio.sleep(1.2)  # the bucket fills
        await spend(limiter, 1, "b")
        await asyncio.sleep(0.1)
        began = time.process_time()
        for number in range(2_000):
            await limiter.admit(f"t{number}", HAIKU, ONE)
            limiter.settle(f"t{number}", AS_EXPECTED)
        took_s = time.process_time() - began
    assert took_s / 2_000 < 0.000_05


def most_within(turns: list[float], seconds: float = 1.0) -> int:
    """The most of these moments within any so many seconds."""
    return max(sum(start <= at < start + seconds for at in turns) for start in turns)


async def test_redis_restarted_in_the_middle_lets_no_burst_through(fleet: Fleet, valkey: ValkeyServer) -> None:
    rate = 1200 / 60 * 0.95
    async with fleet.limiter("a", 1200, WHOLE) as limiter:
        began = time.monotonic()
        first = asyncio.create_task(spend(limiter, 40, "a"))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(valkey.kill)
        second = asyncio.create_task(spend(limiter, 40, "b"))
        await asyncio.sleep(1)
        await asyncio.to_thread(lambda: redis_emptied(valkey))
        third = asyncio.create_task(spend(limiter, 30, "c"))
        turns = sorted(chain(*await asyncio.gather(first, second, third)))
    # Queued one behind the other, whoever gave the turn: what Redis held, what we gave alone, what the new one gives.
    assert most_within(turns) <= rate + rate * WHOLE.burst_s + 1
    assert turns[-1] - began < 110 / rate + 8


async def test_several_processes_without_redis_keep_to_one_limit(fleet: Fleet, valkey: ValkeyServer) -> None:
    rate = 1200 / 60 * 0.95
    async with fleet.limiter("a", 1200, WHOLE) as a, fleet.limiter("b", 1200, WHOLE) as b:
        began = time.monotonic()
        spent = [spend(a, 40, "a"), spend(b, 20, "b")]  # the second holds less of the queue than its share
        first = asyncio.gather(*spent)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(valkey.kill)
        second = asyncio.gather(spend(a, 20, "c"), spend(b, 20, "d"))
        turns = sorted(chain(*await first, *await second))
    assert most_within(turns) <= rate + rate * WHOLE.burst_s + 1
    assert turns[-1] - began < 100 / rate + 2  # the limit is used though nobody gives turns


async def test_a_ceiling_that_was_changed_counts_for_a_worker_that_starts_anew(fleet: Fleet) -> None:
    async with fleet.limiter("a", 600, WHOLE) as first:
        await spend(first, 1, "a")
        async with fleet.limiter("b", 60, WHOLE):
            assert fleet.status().limits.requests == 60
            await spend(first, 1, "b")
            assert fleet.status().limits.requests == 60
    async with fleet.limiter("c", 1200, WHOLE):
        assert fleet.status().limits.requests == 1200


def redis_emptied(valkey: ValkeyServer) -> None:
    valkey.start()
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()


async def test_a_redis_that_is_away_and_no_limits_lets_everything_through(tmp_path: Path) -> None:
    fleet = Fleet("redis://127.0.0.1:1/0")
    async with fleet.limiter("a", None, WHOLE) as limiter:
        began = time.monotonic()
        await spend(limiter, 100, "a")
        assert time.monotonic() - began < 10


def test_what_is_read_is_nothing_where_nothing_was_used(valkey: ValkeyServer) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        assert read_limits(client) == []
