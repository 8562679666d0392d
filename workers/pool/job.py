"""One task on its way through the pool: run it, keep its limits, end it on request, and report once.

A job lives on the loop's thread; only `terminate` is called from another. What Celery makes of a report (ack, events,
result state) happens in its `Request`, on the consumer's thread.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, NamedTuple

from billiard.einfo import ExceptionInfo
from celery.exceptions import SoftTimeLimitExceeded, Terminated
from celery.utils.log import get_logger

from workers.pool.bridge import drive
from workers.pool.current import current_job

if TYPE_CHECKING:
    from workers.pool.pool import AsyncioPool

log = get_logger(__name__)

ABANDON_AFTER_S = 5.0
"""How long a cancelled body may take to clean up before its slot is given to another job."""


class Callbacks(NamedTuple):
    """How Celery's `Request` wants to hear of its task; all are called on the consumer's thread."""

    accepted: Callable[[int, float], object]
    timed_out: Callable[[bool, float], object]
    succeeded: Callable[[Any], object]
    failed: Callable[[ExceptionInfo], object]


class Limits(NamedTuple):
    """Time limits of one job in seconds; None is no limit."""

    soft_s: float | None
    hard_s: float | None


class Phase(enum.Enum):
    """Where the tracer is. A cancellation waits for the body, reaches it, or comes too late."""

    BEFORE_BODY = enum.auto()
    BODY = enum.auto()
    AFTER_BODY = enum.auto()


class Ending(enum.Enum):
    """Why we ask a job to end."""

    SOFT_LIMIT = enum.auto()
    HARD_LIMIT = enum.auto()
    TERMINATED = enum.auto()


class BodyEscaped(Exception):
    """A body raised what would have ended a process, or a cancellation nobody asked for: its task has failed.

    Names the kind of error only: what it says may be the text of a document.
    """


class Job:
    """A task whose body is a coroutine."""

    __slots__ = (
        "__weakref__",
        "_callbacks",
        "_ending",
        "_limits",
        "_phase",
        "_pool",
        "_reported",
        "_task",
        "_timers",
        "args",
        "label",
        "pid",
        "target",
    )

    def __init__(
        self,
        pool: AsyncioPool,
        pid: int,
        target: Callable[..., Any],
        args: tuple[Any, ...],
        callbacks: Callbacks,
        limits: Limits,
    ) -> None:
        self.pid = pid
        self.target = target
        self.args = args
        self.label = f"{args[0]}[{args[1]}]"
        self._pool = pool
        self._callbacks = callbacks
        self._limits = limits
        self._phase = Phase.BEFORE_BODY
        self._ending: Ending | None = None
        self._reported = False
        self._timers: list[asyncio.TimerHandle] = []
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Say that the job has begun, run it, and set its limits going."""
        loop = self._pool.loop
        self._pool.to_main.post(self._callbacks.accepted, self.pid, time.monotonic())
        self._task = loop.create_task(self._run(), name=self.label)
        if self._limits.soft_s:
            self._timers.append(loop.call_later(self._limits.soft_s, self._pass_soft_limit))
        if self._limits.hard_s:
            self._timers.append(loop.call_later(self._limits.hard_s, self._pass_hard_limit))

    def terminate(self, signal: object = None) -> None:
        """Cancel the body, from any thread. `signal` is Celery's, for pools of processes; here there is one way."""
        self._pool.to_loop.post(self._end, Ending.TERMINATED)

    async def run_body(self, body: Coroutine[Any, Any, object]) -> object:
        """Await the body; what comes out is what Celery's tracer can record, or a cancellation we asked for.

        A terminated job ends as terminated, whatever its body made of the cancellation.
        """
        if self._is_over:
            body.close()
            raise asyncio.CancelledError
        self._phase = Phase.BODY
        try:
            result = await body
        except BaseException as error:
            if self._is_over:
                raise asyncio.CancelledError from None
            if isinstance(error, Exception):
                raise
            if isinstance(error, asyncio.CancelledError) and self._ending is Ending.SOFT_LIMIT:
                raise SoftTimeLimitExceeded(self._limits.soft_s) from None
            raise escaped(error) from error
        finally:
            self._phase = Phase.AFTER_BODY
            if self._ending is Ending.SOFT_LIMIT and self._task:
                self._task.uncancel()  # dealt with: later awaits of the tracer are not to be cancelled
        if self._is_over:
            raise asyncio.CancelledError
        return result

    async def _run(self) -> None:
        current_job.set(self)
        try:
            outcome = await self._trace()
        except BaseException as error:  # noqa: BLE001 - an unreported job would hold its message for ever
            self._report_failure(error)
        else:
            release_frames(outcome)
            self._report(self._callbacks.succeeded, outcome)
        finally:
            self._task = None  # or each would hold the other, for the garbage collector to find

    async def _trace(self) -> object:
        return await drive(self.target, *self.args)

    @property
    def _is_over(self) -> bool:
        return self._ending is Ending.TERMINATED or self._ending is Ending.HARD_LIMIT

    def _pass_soft_limit(self) -> None:
        if self._phase is Phase.BODY:
            self._pool.to_main.post(self._callbacks.timed_out, True, self._limits.soft_s)
            self._end(Ending.SOFT_LIMIT)

    def _pass_hard_limit(self) -> None:
        if self._phase is not Phase.AFTER_BODY and not self._is_over:
            self._pool.to_main.post(self._callbacks.timed_out, False, self._limits.hard_s)
            self._end(Ending.HARD_LIMIT)

    def _end(self, ending: Ending) -> None:
        if self._phase is Phase.AFTER_BODY or self._is_over or self._task is None:
            return
        self._ending = ending
        if self._phase is Phase.BODY:
            self._task.cancel()
        if ending is not Ending.SOFT_LIMIT:
            self._timers.append(self._pool.loop.call_later(ABANDON_AFTER_S, self._abandon))

    def _abandon(self) -> None:
        log.critical("%s goes on %s s after its cancellation: abandoned, its slot is free", self.label, ABANDON_AFTER_S)
        self._report(None)

    def _report_failure(self, error: BaseException) -> None:
        if self._ending is Ending.HARD_LIMIT:
            self._report(None)  # Celery has heard of it when the limit passed
            return
        failure = error
        if self._ending is Ending.TERMINATED:
            failure = Terminated(0)
        elif not isinstance(error, Exception) or isinstance(error, MemoryError):
            failure = escaped(error)  # Celery would take it for the loss of a process, or end this one
        self._report(self._callbacks.failed, ExceptionInfo((type(failure), failure, error.__traceback__)))

    def _report(self, callback: Callable[[Any], object] | None, news: object = None) -> None:
        if self._reported:
            return
        self._reported = True
        for timer in self._timers:
            timer.cancel()
        self._pool.to_main.post(self._pool.finish, self.pid, callback, news)


class ThreadJob(Job):
    """A task whose body is a plain function: Celery's tracer and body run in a thread.

    A thread cannot be stopped. Past its hard limit, or terminated, the job is reported and its thread left to end.
    """

    __slots__ = ()

    async def _trace(self) -> object:
        self._phase = Phase.BODY
        call = self._pool.threads.submit(copy_context().run, self.target, *self.args)
        return await asyncio.wrap_future(call)

    def _end(self, ending: Ending) -> None:
        if ending is not Ending.SOFT_LIMIT:  # which is for the body to notice, and it has no place to
            super()._end(ending)


def release_frames(outcome: object) -> None:
    """Have a failed or retried task's error let go of its traceback, which Celery has put into words by now.

    Its frames hold the error in turn, and what the task worked on: only the garbage collector would ever free them.
    """
    match outcome:
        case (1, ExceptionInfo() as told, *_):
            held, released = [told.exception], set[int]()
            while held:
                error = held.pop()
                if isinstance(error, BaseException) and id(error) not in released:
                    released.add(id(error))
                    error.__traceback__ = None
                    held += (error.__cause__, error.__context__, getattr(error, "exc", None))
        case _:
            pass


def escaped(error: BaseException) -> BodyEscaped:
    """The failure to record for an error that Celery's tracer does not record."""
    return BodyEscaped(f"the task raised {type(error).__name__}")
