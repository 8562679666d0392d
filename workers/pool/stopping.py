"""How a worker's jobs come to an end: finished within the grace, or cancelled and handed back.

Celery's consumer no longer runs then, so nobody but us delivers results and flushes acks.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from celery.concurrency.prefork import _run_ready_callbacks  # type: ignore[attr-defined]  # pinned by a contract test
from celery.utils.log import get_logger
from celery.worker import state
from kombu.asynchronous import Hub

from workers.pool.job import ABANDON_AFTER_S

if TYPE_CHECKING:
    from workers.pool.pool import AsyncioPool

log = get_logger(__name__)

POLL_S = 0.02

HAND_BACK_TIMEOUT_S = ABANDON_AFTER_S + 1
"""Cancelled jobs end or are abandoned sooner, unless the loop is blocked."""


def drain(pool: AsyncioPool, hub: Hub, grace_s: float) -> None:
    """Wait for the jobs in flight; hand back what still runs after `grace_s` seconds, or at once in a cold shutdown."""
    deadline = time.monotonic() + grace_s
    deliver(pool, hub)
    if pool.in_flight:
        log.info("waiting up to %s s for %s tasks to finish", grace_s, pool.in_flight)
    while pool.in_flight and time.monotonic() < deadline and not state.should_terminate:
        time.sleep(POLL_S)
        deliver(pool, hub)
    hand_back(pool, hub)


def hand_back(pool: AsyncioPool, hub: Hub) -> None:
    """Cancel the jobs in flight as a cold shutdown does. What is not acknowledged goes back when the channel closes."""
    deadline = time.monotonic() + HAND_BACK_TIMEOUT_S
    deliver(pool, hub)
    if pool.in_flight:
        log.warning("%s tasks are cancelled, for the worker stops", pool.in_flight)
    while pool.in_flight and time.monotonic() < deadline:
        cancel_requests(pool)  # again and again: a job may just have begun
        time.sleep(POLL_S)
        deliver(pool, hub)
    if pool.in_flight:
        log.critical("%s tasks did not come to an end: the loop is blocked", pool.in_flight)


def cancel_requests(pool: AsyncioPool) -> None:
    """Cancel what runs, except tasks that ended and whose ack is on its way. A cancelled one is no longer active."""
    for request in tuple(state.active_requests):
        if not (request.task.acks_late and request.acknowledged):
            request.cancel(pool, emit_retry=not request.task.acks_late)


def deliver(pool: AsyncioPool, hub: Hub) -> None:
    """Do the hub's part: results to Celery's requests, timers (heartbeats, batched acks), acks to the broker."""
    pool.to_main.deliver()
    hub.fire_timers()
    _run_ready_callbacks(hub)
