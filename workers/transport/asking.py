"""A channel to ask the broker something with, beside what Celery publishes and consumes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from workers.transport.channel import Channel

if TYPE_CHECKING:
    from celery import Celery


@contextmanager
def channel_of(app: Celery) -> Iterator[Channel]:
    """One of the app's pool, for as long as the block runs; it may wait for one. Raises what its client raises."""
    pool: Any = app.pool  # Celery's stubs take it for a pool of producers
    with pool.acquire(block=True) as connection:
        channel: Channel = connection.default_channel
        yield channel
