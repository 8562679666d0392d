"""The dead-letter queue in the broker: the newest burials, for those who watch the broker. The ledger is the truth.

Each is a line of JSON without any text of a document's. It may lack some: a broker that is away is told nothing later.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import redis
import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from tasks.model.fault import Fault
from tasks.rules.fingerprint import fingerprint
from workers.transport.channel import Channel

QUEUE = "docmill.dead"
LONGEST = 10_000
"""Older ones fall off the end: a broker's memory is no place to keep things."""

log = structlog.get_logger("docmill.mirror")


def mirror(app: Celery, job_id: str, generation: int, lane: str, fault: Fault) -> None:
    """Put a burial at the head of the list. Best effort: it never raises, and may wait for a broker that is away."""
    entry = {
        "job_id": job_id,
        "generation": generation,
        "lane": lane,
        "fault": fault.kind,
        "status": fault.status,
        "code": fault.code,
        "fingerprint": fingerprint(fault.kind, fault.status, fault.code, fault.message),
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    try:
        pool: Any = app.pool  # Celery's stubs take it for a pool of producers
        with pool.acquire(block=True) as connection:
            channel: Channel = connection.default_channel
            key = channel.keys.prefix + QUEUE
            with channel.store.client.pipeline(transaction=False) as both:
                both.lpush(key, json.dumps(entry))
                both.ltrim(key, 0, LONGEST - 1)
                both.execute()
    except (OperationalError, redis.RedisError, OSError) as error:
        log.warning("dead_letter.not_mirrored", job=job_id, error=type(error).__name__)
