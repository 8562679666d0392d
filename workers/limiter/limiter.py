"""The fleet's place in Claude's rate limits, as one worker process keeps it.

While there is plenty, calls go at once and what they used is told a few times a second. Where it is scarce, a call
waits for its turn, which Redis gives: the calls of a few milliseconds ask together, from one thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Self

import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from config.catalogue import Catalogue
from tasks.model.call import Expected, Usage
from tasks.model.fault import Fault, NoRoom
from tasks.rules.limiting import Amounts, Pace, cut_of
from tasks.rules.verdict import rate_pause_s
from workers.limiter.account import Account
from workers.limiter.bucket import Buckets, Said, Word
from workers.limiter.headers import read_headers
from workers.limiter.slots import Slots

GATHER_S = 0.005
"""So long a call waits for others to ask with it."""
REPORT_S = 0.5
"""What went out at once is told so often: each time costs half a millisecond of CPU."""
POLL_S = 0.1
"""While calls wait: how soon a pause that another process caused is heard of."""
BEAT_S = 2.0
"""While calls are under way: a process that is silent for longer counts for less and less."""
PATIENCE_S = 2.0
"""A Redis that takes longer is as good as away."""
AWAY_S = 1.0
"""Before one that was away is asked again."""
OBSERVE_S = 0.1
"""One response's headers tell as much as the next one's."""
STEER_S = 1.0

log = structlog.get_logger("docmill.limiter")


class Limiter:
    """Meets `tasks.ports.Limiter`. Enter it in the loop that uses it."""

    def __init__(self, app: Celery, catalogue: Catalogue, slots: Slots, *, key: str, process: str, pace: Pace) -> None:
        """Make a limiter for one API key.

        Args:
            app: For connections to the broker.
            catalogue: For the class of each model, and our own ceilings.
            slots: Hears how many calls of a class are worth holding.
            key: The API key's fingerprint.
            process: Id of this worker process.
            pace: How to go about the limits.
        """
        self._app, self._catalogue, self._slots = app, catalogue, slots
        self._key, self._process, self._pace = key, process, pace
        self._accounts: dict[str, Account] = {}  # by model; models of a class share one
        self._by_class: dict[str, Account] = {}
        self._held: dict[str, tuple[Account, float, float, float]] = {}
        self._observe_at: dict[Account, float] = {}
        self._steer_at: dict[Account, float] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="docmill-limiter")
        self._connection: Any = None  # kombu's, opened and used on the thread alone
        self._buckets: Buckets | None = None
        self._away_until = 0.0
        self._is_away = False
        self._timer: asyncio.TimerHandle | None = None

    # --- tasks.ports.Limiter

    async def admit(self, token: str, model: str, expected: Expected) -> None:
        """See `tasks.ports.Limiter`."""
        account = self._accounts.get(model) or self._account(model)
        now = self._loop.time()
        input_: float = expected.input
        output: float = expected.output
        if account.takes(input_, output, now):
            if account.is_low:
                self._wake.set()
            elif self._timer is None:
                self._wake_in(REPORT_S)
        else:
            asked = await self._turn(account, expected)
            input_, output, now = asked.input, asked.output, self._loop.time()
        self._held[token] = account, input_, output, now
        account.held += 1

    def settle(self, token: str, usage: Usage | None) -> None:
        """See `tasks.ports.Limiter`."""
        held = self._held.pop(token, None)
        if held is None:
            return
        account, input_, output, admitted_at = held
        account.held -= 1
        if usage is not None:
            counted = usage.input + usage.cache_write_5m + usage.cache_write_1h
            account.use(0, counted - input_, usage.output - output)
            account.learn(Amounts(1, counted, usage.output), self._loop.time() - admitted_at)
            if self._timer is None:
                self._wake_in(REPORT_S)

    def release(self, token: str) -> None:
        """See `tasks.ports.Limiter`."""
        held = self._held.pop(token, None)
        if held is None:
            return
        account, input_, output, _ = held
        account.held -= 1
        account.use(-1, -input_, -output)
        if self._timer is None:
            self._wake_in(REPORT_S)

    def throttled(self, model: str, fault: Fault) -> bool:
        """See `tasks.ports.Limiter`."""
        account = self._accounts.get(model) or self._account(model)
        pause_s = rate_pause_s(fault, 0.0)
        account.penalise(pause_s, cut_of(fault))
        self._wake.set()
        log.info("limit.met", model=model, seconds=round(pause_s, 1), code=fault.code)
        return account.is_known and pause_s <= self._pace.longest_wait_s

    def observe(self, model: str, headers: Mapping[str, str]) -> None:
        """Learn from the headers of a response to a call. Quick; it never raises."""
        account = self._accounts.get(model)
        if account is None:
            return
        now = self._loop.time()
        if now < self._observe_at.get(account, 0.0):
            return
        self._observe_at[account] = now + OBSERVE_S
        account.observe(*read_headers(headers))
        if not account.is_known and account.has_news(now, BEAT_S):
            self._wake.set()

    # --- inside

    def _account(self, model: str) -> Account:
        limit_class = self._catalogue.limit_class(model)
        account = self._by_class.get(limit_class)
        if account is None:
            ceiling = self._catalogue.limits.get(limit_class)
            amounts = Amounts(ceiling.rpm or 0, ceiling.itpm or 0, ceiling.otpm or 0) if ceiling else Amounts()
            account = Account(f"{self._key}:{limit_class}", self._process, amounts, self._pace)
            self._by_class[limit_class] = account
        self._accounts[model] = account
        return account

    async def _turn(self, account: Account, expected: Expected) -> Amounts:
        """What is held for the call, once its turn has come."""
        is_guess = expected.output >= expected.most_output
        turn = account.wait(Amounts(1, expected.input, expected.output), is_guess=is_guess)
        self._wake.set()
        try:
            refused_s = await turn.future
        except asyncio.CancelledError:
            account.leave(turn)
            self._wake_in(REPORT_S)
            raise
        if refused_s is not None:
            raise NoRoom(f"its turn in the rate limits is {refused_s:.0f} s away", retry_after_s=refused_s)
        return turn.asked

    def _wake_in(self, seconds: float) -> None:
        at = self._loop.time() + seconds
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._wake.set)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        for model in dict.fromkeys(self._catalogue.routes.values()):  # what is known, before the first job is claimed
            await self._tell(self._account(model))
        self._speaking = asyncio.create_task(self._speak(), name="limiter")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._speaking.cancel()
        with suppress(asyncio.CancelledError):
            await self._speaking
        if self._timer is not None:
            self._timer.cancel()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._loop.run_in_executor(self._thread, self._hang_up), PATIENCE_S)
        self._thread.shutdown(wait=False)

    async def _speak(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_S)
            self._wake.clear()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            for account in list(self._by_class.values()):  # a job may bring another model while we ask
                if account.has_news(self._loop.time(), BEAT_S):
                    await self._tell(account)
            if any(account.is_waited_for for account in self._by_class.values()):
                self._wake_in(POLL_S)
            elif self._held:
                self._wake_in(BEAT_S)

    async def _tell(self, account: Account) -> None:
        word, turns = account.word(self._loop.time())
        said = await self._ask(word)
        now = self._loop.time()
        try:
            if said is None:
                account.go_alone(word, turns, now)
            else:
                account.heard(said, turns, now)
        except Exception as error:  # noqa: BLE001 - a bug of ours must not hold up every call from now on
            log.error("limiter.broken", error=type(error).__name__)  # noqa: TRY400 - as everywhere, names only
            for turn in turns:
                turn.end()
        if now >= self._steer_at.get(account, 0.0):
            self._steer_at[account] = now + STEER_S
            self._slots.suit(word.bucket.partition(":")[2], account.slots)

    async def _ask(self, word: Word) -> Said | None:
        """What Redis says; None when it is away or too slow."""
        if self._loop.time() < self._away_until:
            return None
        asking = self._loop.run_in_executor(self._thread, self._answer, word)
        try:
            async with asyncio.timeout(PATIENCE_S):  # `wait_for` would lose a cancellation that meets the answer
                said = await asyncio.shield(asking)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the broker, calls do not wait for it
            self._away_until = self._loop.time() + AWAY_S
            asking.add_done_callback(_look_away)
            if not self._is_away:
                log.warning("limiter.alone", error=f"{type(error).__name__}: the broker does not answer")
            self._is_away = True
            return None
        if self._is_away:
            log.info("limiter.together")
        self._is_away = False
        return said

    # From here on: the thread.

    def _answer(self, word: Word) -> Said:
        try:
            if self._buckets is None:
                self._connection = self._app.connection_for_write()
                channel = self._connection.default_channel
                self._buckets = Buckets(channel.store.client, channel.keys, self._pace)
            return self._buckets.tell(word)
        except BaseException:
            self._hang_up()
            raise

    def _hang_up(self) -> None:
        connection, self._connection, self._buckets = self._connection, None, None
        if connection is not None:
            with suppress(OperationalError, RedisError, OSError):
                connection.release()


def _look_away(asking: asyncio.Future[Said]) -> None:
    if not asking.cancelled():
        asking.exception()


__all__ = ["Limiter"]
