"""The ledger as the tasks see it: `tasks.ports.Ledger` for coroutines, many of whose writes share a transaction.

One thread writes. It takes whatever waits, commits it as one group, and wakes the waiters with one call into their
loop; while it commits, the next group gathers. A group that fails is run again operation by operation, so that only
the culprit's coroutine gets the error. The same thread reports the worker alive, which a busy loop cannot delay.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar, cast

from sqlalchemy import Connection

from tasks.model.call import Call, Route
from tasks.model.job import Job
from tasks.model.verdict import Verdict
from tasks.ports import ClaimLost
from tasks.rules.judging import Fate
from workers.ledger import moving, prices
from workers.ledger.budgets import Watch
from workers.ledger.database import Database
from workers.ledger.errors import LedgerAway, LedgerError
from workers.ledger.ids import chance, new_id
from workers.ledger.migrating import open_database
from workers.ledger.moving import Claim, Owner, Recipes, Return, Sending, Settlement
from workers.ledger.tally import Tally

LARGEST_GROUP = 500
"""Bounds how long other processes wait for SQLite's one writer."""
REPORTS_PER_TIMEOUT = 3
PATIENCE_S = 60.0

Wish = Claim | Sending | Settlement | Return
T = TypeVar("T")


@dataclass(eq=False, slots=True)
class _Operation:
    """One coroutine's wish, and where to tell it the outcome."""

    wish: Wish
    waiter: asyncio.Future[Any]
    asked_at: float = field(default_factory=time.monotonic)
    outcome: Any = None
    error: Exception | None = None


class GroupedLedger:
    """Meets `tasks.ports.Ledger`. Made by `open`; used on the loop that opened it."""

    def __init__(
        self, database: Database, owner: Owner, *, owner_timeout_s: float, patience_s: float = PATIENCE_S
    ) -> None:
        self._database = database
        self._owner = owner
        self._owner_timeout_s = owner_timeout_s
        self._patience_s = patience_s
        self._recipes = Recipes()
        self._prices = prices.Unkept()
        self._budgets = Watch()
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Operation] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._reported_at = self._steady_since = time.monotonic()
        self._thread = threading.Thread(target=self._write_until_closed, name="docmill-ledger", daemon=True)

    @classmethod
    async def open(cls, url: str, *, owner_timeout_s: float, patience_s: float = PATIENCE_S) -> Self:
        """Open the ledger and report this process as a worker.

        Args:
            url: SQLAlchemy's, as `Settings.ledger_url`.
            owner_timeout_s: A worker not seen for so long has lost its jobs; this one reports three times as often.
            patience_s: How long an operation waits for a database that is locked or away.

        Raises `LedgerError`, one line for a person.
        """
        database = await asyncio.to_thread(open_database, url)
        owner = Owner(new_id("worker"), socket.gethostname(), os.getpid(), database.now())
        self = cls(database, owner, owner_timeout_s=owner_timeout_s, patience_s=patience_s)
        try:
            await asyncio.to_thread(self._report)
        except LedgerError:
            database.close()
            raise
        self._thread.start()
        return self

    async def close(self) -> None:
        """Write what waits, sign the worker off, close the connections. Operations asked for later are refused."""
        if self._closing:
            return
        self._closing = True
        self._wake.set()
        await asyncio.to_thread(self._thread.join)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def owner(self) -> str:
        """Id of this worker process, random for each start."""
        return self._owner.id

    @property
    def database(self) -> Database:
        """The connections, for as long as the ledger is open."""
        return self._database

    def steady_s(self) -> float:
        """For how long this process's reports have come through without a gap; 0 while they do not."""
        now = time.monotonic()
        return 0.0 if self._is_gap(now) else now - self._steady_since

    def _is_gap(self, now: float) -> bool:
        return now - self._reported_at > 2 * self._owner_timeout_s / REPORTS_PER_TIMEOUT

    async def claim(self, job_id: str, generation: int, message_id: str | None = None) -> Job | None:
        """See `tasks.ports.Ledger`. A claim that ends in an error or a cancellation gives back what it may have got."""
        wish = Claim(job_id, generation, chance(64), message_id)
        try:
            return cast("Job | None", await self._ask(wish))
        except (asyncio.CancelledError, LedgerError):
            self._enqueue(Return(job_id, wish.token, None)).add_done_callback(_look_away)
            raise

    async def sending(self, job: Job, call: Call, route: Route, shell: str) -> None:
        """See `tasks.ports.Ledger`."""
        if not await self._ask(Sending(job.token, call, route, shell)):
            raise ClaimLost(f"job {call.job_id!r}: claimed by another worker, or cancelled, before its call was sent")

    async def settle(self, job: Job, call: Call | None, verdict: Verdict) -> bool:
        """See `tasks.ports.Ledger`."""
        return cast("bool", await self._ask(Settlement(job, call, verdict)))

    async def hand_back(self, job: Job, call: Call | None, fate: Fate = Fate.AGAIN) -> None:
        """See `tasks.ports.Ledger`."""
        await self._ask(Return(job.id, job.token, call, fate))

    async def _ask(self, wish: Wish) -> Any:  # noqa: ANN401 - each caller knows what its wish comes to
        if self._closing:
            raise LedgerAway("the ledger is closed: this worker is stopping")
        return await self._enqueue(wish)  # cancelling the coroutine does not stop the write

    def _enqueue(self, wish: Wish) -> asyncio.Future[Any]:
        operation = _Operation(wish, self._loop.create_future())
        self._waiting.append(operation)
        if not self._wake.is_set():
            self._wake.set()
        return operation.waiter

    # From here on: the writing thread.

    def _write_until_closed(self) -> None:
        report_every_s = self._owner_timeout_s / REPORTS_PER_TIMEOUT
        next_report = time.monotonic() + report_every_s
        try:
            while self._waiting or not self._closing:
                self._wake.wait(max(0.0, next_report - time.monotonic()))
                self._wake.clear()
                if time.monotonic() >= next_report:
                    self._try_to_report()
                    next_report = time.monotonic() + report_every_s
                while group := self._take():
                    self._write(group)
                    self._loop.call_soon_threadsafe(_tell, group)
                    if time.monotonic() >= next_report:
                        break
            self._sign_off()
        finally:
            self._database.close()

    def _take(self) -> list[_Operation]:
        group: list[_Operation] = []
        while self._waiting and len(group) < LARGEST_GROUP:
            group.append(self._waiting.popleft())
        return group

    def _write(self, group: Sequence[_Operation]) -> None:
        patience_s = max(0.0, group[0].asked_at + self._patience_s - time.monotonic())
        try:
            self._carry_out(group, patience_s)
        except Exception as error:  # noqa: BLE001 - handed to whoever asked; the thread serves the others
            if len(group) == 1 or isinstance(error, LedgerAway):
                for operation in group:
                    operation.error = _presentable(error)
            else:
                for operation in group:
                    self._write([operation])

    def _carry_out(self, group: Sequence[_Operation], patience_s: float) -> None:
        claims = _of(Claim, group)
        sendings = _of(Sending, group)
        settlements = _of(Settlement, group)
        returns = _of(Return, group)
        database, owner, at = self._database, self._owner.id, self._database.now()
        ended = [call for call in (*(one.call for one in settlements), *(one.call for one in returns)) if call]
        unkept = self._prices.of(ended)
        self._budgets.look(database, patience_s=patience_s)

        def write(connection: Connection) -> tuple[set[str], set[str], Tally | None]:
            tally = self._budgets.tally(connection, [each.call for each in sendings], [call.id for call in ended])
            prices.keep(connection, unkept.values(), at)
            moved = moving.settle(connection, settlements, at=at, tally=tally)
            allowed = moving.sending(connection, sendings, at=at, tally=tally)
            moving.claim(connection, claims, owner=owner, at=at)
            moving.hand_back(connection, returns, at=at, tally=tally)
            if tally is not None:
                tally.write(connection, at)
            return allowed, moved, tally

        allowed, moved, tally = database.write(write, patience_s=patience_s)
        self._prices.kept(unkept)
        if tally is not None:
            self._budgets.committed(tally)
        refused = tally.refused if tally is not None else {}
        # After the commit: documents may be large, and other processes need not wait while they are read.
        jobs = (
            database.read(lambda connection: moving.claimed(connection, claims, self._recipes), patience_s=patience_s)
            if claims
            else {}
        )
        for operation in group:
            match operation.wish:
                case Claim() as wish:
                    operation.outcome = jobs.get(wish.token)
                case Sending() as wish:
                    operation.error = refused.get(wish.call.id)
                    operation.outcome = wish.call.id in allowed
                case Settlement() as wish:
                    operation.outcome = wish.job.token in moved
                case Return():
                    pass

    def _report(self) -> None:
        database, at = self._database, self._database.now()
        database.write(lambda connection: moving.report(connection, self._owner, at), patience_s=0)
        database.read(database.set_clock, patience_s=0)

    def _try_to_report(self) -> None:
        with suppress(LedgerError):  # nobody else can see the database either; the next report is soon
            self._report()
            now = time.monotonic()
            if self._is_gap(now):
                self._steady_since = now
            self._reported_at = now

    def _sign_off(self) -> None:
        database, at = self._database, self._database.now()
        with suppress(LedgerError):  # an owner that is not seen any more is as good as one without a row
            database.write(lambda connection: moving.forget(connection, self._owner, at), patience_s=0)


def _tell(group: Sequence[_Operation]) -> None:
    for operation in group:
        if operation.waiter.done():  # its coroutine was cancelled
            continue
        if operation.error is not None:
            operation.waiter.set_exception(operation.error)
        else:
            operation.waiter.set_result(operation.outcome)


def _look_away(waiter: asyncio.Future[Any]) -> None:
    """Nobody waits for this one: asyncio need not complain that its error was not looked at."""
    if not waiter.cancelled():
        waiter.exception()


def _of(kind: Callable[..., T], group: Sequence[_Operation]) -> list[T]:
    return [cast("T", operation.wish) for operation in group if type(operation.wish) is kind]


def _presentable(error: Exception) -> LedgerError:
    """One of ours, one for each waiter: an error of pydantic's, say, quotes what it refused."""
    if isinstance(error, LedgerAway):
        return LedgerAway(str(error))
    if isinstance(error, LedgerError):
        return LedgerError(str(error))
    return LedgerError(f"ledger: {type(error).__name__}")
