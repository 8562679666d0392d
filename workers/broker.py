"""The broker as sweeper, feeder and submitter see it: how many messages it holds, and how jobs are published."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from tasks.document import TASK_NAME
from tasks.model.burial import Burial
from tasks.model.job import Message
from tasks.model.standing import Held, Stopped
from workers.ledger.ids import chance
from workers.mirror import mirror
from workers.transport import Bell, Depth, Outgoing, Pause, Pauses, channel_of, depths, publish_many

MIRROR_TIMEOUT_S = 5.0

log = structlog.get_logger("docmill.broker")


class Broker:
    """Meets `tasks.ports.Broker`, over the app's own connections."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    async def publish(self, messages: Sequence[Message]) -> None:
        """See `tasks.ports.Broker`."""
        await asyncio.to_thread(publish, self._app, messages, again=True)

    async def ring(self, queues: Collection[str]) -> None:
        """See `tasks.ports.Broker`."""
        if queues:
            await asyncio.to_thread(self._ring, queues)

    async def held(self, queues: Collection[str]) -> Mapping[str, Held]:
        """See `tasks.ports.Broker`."""
        found = await asyncio.to_thread(self._depths, sorted(queues))
        return {
            queue: Held(in_line=sum(depth.ready.values()) + depth.delayed, unacked=depth.unacked)
            for queue, depth in found.items()
        }

    async def pauses(self, queues: Collection[str]) -> Mapping[str, Stopped]:
        """See `tasks.ports.Broker`."""
        try:
            found = await asyncio.to_thread(self._pauses, sorted(queues))
        except (OperationalError, RedisError, OSError) as error:
            log.warning("lanes.unknown", error=f"{type(error).__name__}: the broker does not answer")
            return {}
        return {lane: Stopped(pause.fault, pause.reason, pause.since) for lane, pause in found.items()}

    async def mirror(self, burials: Sequence[Burial]) -> None:
        """See `tasks.ports.Broker`."""
        if not burials:
            return
        with suppress(TimeoutError):  # the thread goes on waiting for the broker, the job does not
            await asyncio.wait_for(asyncio.to_thread(mirror, self._app, burials), MIRROR_TIMEOUT_S)

    def _ring(self, queues: Collection[str]) -> None:
        with channel_of(self._app) as channel:
            Bell(channel.store.client, channel.keys).ring(queues)

    def _pauses(self, queues: Sequence[str]) -> dict[str, Pause]:
        with channel_of(self._app) as channel:
            return Pauses(channel.store.client, channel.keys).read(queues)

    def _depths(self, queues: Sequence[str]) -> dict[str, Depth]:
        with channel_of(self._app) as channel:
            return depths(channel.store.client, queues, channel.keys)


def publish(app: Celery, messages: Sequence[Message], *, again: bool = False) -> None:
    """Publish the messages of jobs. A replay's has an id of its own, so that an old revoke does not meet it.

    So has each that is published `again`: workers would throw away those of a message that was revoked, for hours.
    Raises what Celery's client raises, and `BrokerRefused`; some may have been published by then.
    """
    publish_many(
        app,
        [
            Outgoing(
                TASK_NAME,
                (each.job_id, each.generation),
                each.queue,
                priority=each.priority,
                countdown_s=each.wait_s,
                task_id=f"{message_id(each)}.{chance(32)}" if again else message_id(each),
            )
            for each in messages
        ],
    )


def message_id(message: Message) -> str:
    """The Celery task id of a job's first message in its generation; retries keep it."""
    return f"{message.job_id}.{message.generation}"
