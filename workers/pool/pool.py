"""The pool as Celery's worker sees it: takes tasks from the consumer, hands back what became of them.

All methods run on the consumer's thread (the worker's main thread). `stopping` says how a worker comes to its end.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from itertools import count
from typing import Any

from celery import signals
from celery.concurrency.base import BasePool
from celery.exceptions import ImproperlyConfigured
from celery.utils.log import get_logger
from kombu.asynchronous import Hub, get_event_loop
from kombu.asynchronous.semaphore import LaxBoundedSemaphore

from workers.pool.app import AsyncioCelery
from workers.pool.bridge import drive
from workers.pool.job import Callbacks, Job, Limits, ThreadJob
from workers.pool.loop import LoopThread
from workers.pool.mailbox import Mailbox
from workers.pool.stopping import drain, hand_back
from workers.pool.threads import DaemonThreads
from workers.pool.watchdog import Watchdog

log = get_logger(__name__)

MAX_THREADS = 64
"""Threads for plain `def` tasks. More of them wait for a thread; a worker for many such tasks wants another pool."""

DRAIN_TIMEOUT_S = 30.0
"""Default of `worker_drain_timeout_s`: the grace that Kubernetes gives as well."""

GATHER_S = 0.004
"""So long the news of one job waits for others': a turn of the consumer's loop for each took a fifteenth of a worker's
CPU (`scripts.bench.overhead`)."""

CLOSING_TIMEOUT_S = 5.0
"""How long the handlers of `worker_process_shutdown` may take."""


class AsyncioPool(BasePool):
    """Celery worker pool of one asyncio loop; `worker_pool = "workers.pool:AsyncioPool"`, for an `AsyncioCelery`.

    `worker_concurrency` is the number of tasks in flight. `worker_drain_timeout_s` (seconds, default 30) is how long a
    stopping worker lets them finish; then they are cancelled, and with `task_acks_late` their messages go back.
    Raises `ImproperlyConfigured` at start for another kind of app, and for a broker that has no event-loop consumer
    (memory, filesystem).
    """

    uses_semaphore = True  # the consumer admits tasks, so a task revoked while it waits does not start
    signal_safe = False
    is_green = False
    body_can_be_buffer = True
    task_join_will_block = False  # a result is waited for in a thread

    def on_start(self) -> None:
        """Start the loop and let the application open its clients there."""
        if not isinstance(self.app, AsyncioCelery):
            raise ImproperlyConfigured("AsyncioPool needs an AsyncioCelery app: from workers.pool import AsyncioCelery")
        hub, semaphore = get_event_loop(), self.options.get("semaphore")
        if hub is None or semaphore is None:
            raise ImproperlyConfigured("AsyncioPool needs an event-loop broker: set broker_url to redis:// or amqp://")
        self._hub: Hub = hub
        self._semaphore: LaxBoundedSemaphore = semaphore
        self._in_flight: dict[int, Job] = {}
        self._pids = count(1)
        self._thread = LoopThread()
        self.loop = self._thread.loop
        self.threads = DaemonThreads(min(self.limit, MAX_THREADS), "def-task")
        self.to_loop = Mailbox(self.loop.call_soon_threadsafe)
        self.to_main = Mailbox(self._wake_main)
        self._watchdog = Watchdog(self._thread)
        self._stopping = False
        self._hostname = self.options.get("initargs", (None, None))[1]
        self._thread.start()
        self._watchdog.start()
        self._thread.wait_for(drive(signals.worker_process_init.send, sender=self._hostname))

    def on_apply(  # type: ignore[override]  # Celery passes these by name
        self,
        target: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        accept_callback: Callable[..., Any],
        timeout_callback: Callable[..., Any],
        callback: Callable[..., Any],
        error_callback: Callable[..., Any],
        soft_timeout: float | None = None,
        timeout: float | None = None,
        **_: object,
    ) -> Job | None:
        """Start a task; `target(*args)` is Celery's tracer, `args` begins with the task's name and id."""
        if self._stopping:
            return None  # a timer's late task: unacknowledged, its message goes back
        job_class = Job if getattr(self.app.tasks[args[0]], "runs_on_loop", False) else ThreadJob
        job = job_class(
            self,
            next(self._pids),
            target,
            args,
            Callbacks(accept_callback, timeout_callback, callback, error_callback),
            Limits(soft_timeout or self.options.get("soft_timeout"), timeout or self.options.get("timeout")),
        )
        self._in_flight[job.pid] = job
        self.to_loop.post(job.start)
        return job

    def finish(self, pid: int, callback: Callable[[Any], object] | None, news: object) -> None:
        """Tell Celery what became of a job, and give its slot to the next."""
        try:
            if callback is not None:
                callback(news)
        finally:
            del self._in_flight[pid]
            # After a shrink slots are not given back until the new limit is reached; nothing new starts at the end.
            if len(self._in_flight) < self.limit and not self._stopping:
                self._semaphore.release()

    def terminate_job(self, pid: int, signal: object = None) -> None:
        """Cancel a job: `revoke(terminate=True)`, a lost connection, or a cold shutdown."""
        if job := self._in_flight.get(pid):
            job.terminate(signal)

    def grow(self, n: int = 1) -> None:
        """Allow `n` more tasks in flight."""
        self.limit += n
        self._semaphore.initial_value = self.limit
        for _ in range(min(n, self.limit - len(self._in_flight))):
            self._semaphore.release()

    def shrink(self, n: int = 1) -> None:
        """Allow `n` fewer tasks in flight; those that run are let finish. Raises `ValueError` if none were left."""
        if n >= self.limit:
            raise ValueError(f"cannot shrink a pool of {self.limit} by {n}: at least 1 must be left")
        self.limit -= n
        self._semaphore.initial_value = self.limit
        self._semaphore.value = max(0, self._semaphore.value - n)

    def flush(self) -> None:
        """Called when the connection is lost: Celery has reset the semaphore, but our jobs still hold their slots."""
        self._semaphore.value = max(0, self.limit - len(self._in_flight))

    def register_with_event_loop(self, loop: Hub) -> None:
        """Called at each (re)connect, after which a wake-up that the hub dropped on the way has to be repeated."""
        self.to_main.wake()

    def on_stop(self) -> None:
        """Let jobs finish within the grace, hand the rest back, let the application close its clients."""
        if self._stopping:  # a second signal, during the first one's stop: that one goes on
            return
        self._stopping = True
        grace_s = float(self.app.conf.get("worker_drain_timeout_s", DRAIN_TIMEOUT_S))
        drain(self, self._hub, grace_s)
        self._end_loop()

    def on_terminate(self) -> None:
        """Stop without a grace."""
        if self._stopping:
            return
        self._stopping = True
        hand_back(self, self._hub)
        self._end_loop()

    @property
    def in_flight(self) -> int:
        """Number of tasks that were started and have not been reported to Celery."""
        return len(self._in_flight)

    def _wake_main(self, deliver: Callable[[], None]) -> None:
        if threading.current_thread() is self._thread:
            self.loop.call_later(GATHER_S, self._hub.call_soon, deliver)
        else:
            self._hub.call_soon(deliver)

    def _end_loop(self) -> None:
        if self._in_flight:  # the loop is blocked: nothing runs there any more, and its thread dies with the process
            return
        goodbye = drive(signals.worker_process_shutdown.send, sender=self._hostname, pid=os.getpid(), exitcode=os.EX_OK)
        try:
            self._thread.wait_for(goodbye, CLOSING_TIMEOUT_S)
        except TimeoutError:
            log.critical("the handlers of worker_process_shutdown did not end in %s s", CLOSING_TIMEOUT_S)
        finally:
            self._watchdog.stop()
            self.threads.shutdown()
            self._thread.stop()

    def _get_info(self) -> dict[str, Any]:
        return {
            **super()._get_info(),  # type: ignore[misc]  # missing in the stubs
            "in-flight": self.in_flight,
            "threads": len(self.threads.threads) + len(self._thread.blocking_calls.threads),
            "loop": type(self.loop).__module__,
            "loop-lag-s": round(self._watchdog.lag_s, 3),
        }
