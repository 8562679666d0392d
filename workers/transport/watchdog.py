"""Notices a worker that is connected and never consumes again, and reconnects it.

It looks only; Celery's own reconnection does the rest, and `channel` gives back what was dropped. Needs the event
loop, so not with gevent or eventlet.
"""

from __future__ import annotations

from time import monotonic

from celery import bootsteps
from celery.worker import state as celery_state

from workers.transport.foreign import Foreign

state: Foreign = celery_state

CHECK_EVERY_S = 2
STUCK_AFTER_S = 6
"""No credit for this long while the worker knows of no task that would use it."""


class CreditLost(ConnectionError):
    """Raised into the hub as if the broker connection had failed."""


class Watchdog(bootsteps.StartStopStep):
    """A consumer bootstep."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, c: Foreign, **kwargs: Foreign) -> None:
        self._stuck_since: float | None = None
        super().__init__(c, **kwargs)

    def register_with_event_loop(self, c: Foreign, hub: Foreign) -> None:
        """Celery calls this for each connection, and cancels our timer when the connection goes."""
        self._stuck_since = None
        hub.call_repeatedly(CHECK_EVERY_S, self.check, c)

    def check(self, c: Foreign) -> None:
        """Raise `CreditLost` once the worker has been stuck for `STUCK_AFTER_S`."""
        if not is_stuck(c):
            self._stuck_since = None
            return
        now = monotonic()
        self._stuck_since = self._stuck_since or now
        if now - self._stuck_since >= STUCK_AFTER_S:
            raise CreditLost(f"no credit and no task for {now - self._stuck_since:.0f} s")


def is_stuck(c: Foreign) -> bool:
    """Whether the consumer may take nothing although no task runs, waits, or is held by a rate limit."""
    if c.task_consumer is None or c.task_consumer.channel.qos.can_consume():
        return False
    if state.active_requests or state.reserved_requests or state.scheduled_requests:
        return False
    return not any(bucket and bucket.contents for bucket in c.task_buckets.values())
