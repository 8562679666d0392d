"""The product's Celery app (pool, transport, lanes, settings) with tasks that a cluster test can watch."""

from __future__ import annotations

import os
from typing import Any

import redis.asyncio

from workers.app import app


@app.task(name="cluster.double", ignore_result=False)
async def double(number: int) -> int:
    """Twice the number."""
    return 2 * number


@app.task(name="cluster.hold", bind=True, ignore_result=False)
async def hold(self: Any, key: str) -> str:
    """Hold until something is pushed to the list `key` in the result backend, then name the worker that held."""
    async with redis.asyncio.from_url(os.environ["CELERY_RESULT_BACKEND"]) as client:
        await client.blpop([key])
    hostname: str = self.request.hostname
    return hostname
