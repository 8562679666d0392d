"""The dead-letter queue in the broker: the newest burials, for those who watch the broker. The ledger is the truth.

Each is a line of JSON without any text of a document's. It may lack some: a broker that is away is told nothing later.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import redis
import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from tasks.model.burial import Burial
from tasks.rules.fingerprint import fingerprint
from workers.transport.channel import Channel

QUEUE = "docmill.dead"
LONGEST = 10_000
"""Older ones fall off the end: a broker's memory is no place to keep things."""

log = structlog.get_logger("docmill.mirror")


def mirror(app: Celery, burials: Sequence[Burial]) -> None:
    """Put burials at the head of the list. Best effort: it never raises, and may wait for a broker that is away."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    try:
        pool: Any = app.pool  # Celery's stubs take it for a pool of producers
        with pool.acquire(block=True) as connection:
            channel: Channel = connection.default_channel
            key = channel.keys.prefix + QUEUE
            with channel.store.client.pipeline(transaction=False) as both:
                both.lpush(key, *(_entry(burial, at) for burial in burials))
                both.ltrim(key, 0, LONGEST - 1)
                both.execute()
    except (OperationalError, redis.RedisError, OSError) as error:
        log.warning("dead_letter.not_mirrored", jobs=len(burials), error=type(error).__name__)


def _entry(burial: Burial, at: str) -> str:
    fault = burial.fault
    return json.dumps(
        {
            "job_id": burial.job_id,
            "generation": burial.generation,
            "lane": burial.lane,
            "fault": fault.kind,
            "status": fault.status,
            "code": fault.code,
            "fingerprint": fingerprint(fault.kind, fault.status, fault.code, fault.message),
            "at": at,
        }
    )
