"""The broker as the sweeper sees it: how many messages it holds, and a way to publish some again."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from celery import Celery

from tasks.document import TASK_NAME
from tasks.model.fault import Fault
from tasks.model.job import Job, Message
from tasks.model.standing import Held
from workers.mirror import mirror
from workers.transport import Depth, Outgoing, depths, publish_many
from workers.transport.channel import Channel

MIRROR_TIMEOUT_S = 5.0


class Broker:
    """Meets `tasks.ports.Broker`, over the app's own connections."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    async def publish(self, messages: Sequence[Message]) -> None:
        """See `tasks.ports.Broker`."""
        outgoing = [
            Outgoing(
                TASK_NAME,
                (each.job_id, each.generation),
                each.queue,
                countdown_s=each.wait_s,
                task_id=f"{each.job_id}.{each.generation}",
            )
            for each in messages
        ]
        await asyncio.to_thread(publish_many, self._app, outgoing)

    async def held(self, queues: Collection[str]) -> Mapping[str, Held]:
        """See `tasks.ports.Broker`."""
        found = await asyncio.to_thread(self._depths, sorted(queues))
        return {
            queue: Held(in_line=sum(depth.ready.values()) + depth.delayed, unacked=depth.unacked)
            for queue, depth in found.items()
        }

    async def mirror(self, job: Job, lane: str, fault: Fault) -> None:
        """See `tasks.ports.Broker`."""
        with suppress(TimeoutError):  # the thread goes on waiting for the broker, the job does not
            writing = asyncio.to_thread(mirror, self._app, job.id, job.generation, lane, fault)
            await asyncio.wait_for(writing, MIRROR_TIMEOUT_S)

    def _depths(self, queues: Sequence[str]) -> dict[str, Depth]:
        pool: Any = self._app.pool  # Celery's stubs take it for a pool of producers
        with pool.acquire(block=True) as connection:
            channel: Channel = connection.default_channel
            return depths(channel.store.client, queues, channel.keys)
