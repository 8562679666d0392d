"""kombu's Redis channel for those who send: a message that has to wait does so in Redis, a refusal is one clear line.

`channel` adds what a worker does on it; `store` has the steps themselves.
"""

from __future__ import annotations

from time import time

import redis
from kombu.utils.json import dumps
from redis.exceptions import ResponseError

from workers.transport.errors import BrokerRefused
from workers.transport.foreign import Foreign, stock
from workers.transport.keys import Keys
from workers.transport.store import Store, is_refusal
from workers.transport.wire import Payload, priority_of, without_delay


class PublishingChannel(stock.Channel):  # type: ignore[misc]  # kombu's class is untyped
    """See the module's docstring."""

    connection: Foreign
    supports_batch_publish = False  # kombu's batches know LPUSH only; `publish_many` is ours

    def __init__(self, connection: Foreign, **kwargs: Foreign) -> None:
        self._store: Store | None = None
        super().__init__(connection, **kwargs)
        self.keys = Keys(
            self.global_keyprefix, self.sep, tuple(self.priority_steps), self.unacked_key, self.unacked_index_key
        )

    @property
    def store(self) -> Store:
        """The broker, over a client that leaves keys alone, unlike kombu's own with a `global_keyprefix`."""
        if self._store is None or self._store.client.connection_pool is not self.pool:
            self._store = Store(redis.Redis(connection_pool=self.pool), self.keys)
        return self._store

    def _get_pool(self, asynchronous: bool = False) -> Foreign:
        if self.connection is None or self.connection.client is None:
            raise redis.ConnectionError("the broker connection was closed")
        return super()._get_pool(asynchronous=asynchronous)

    def _put(self, queue: str, message: Payload, **kwargs: Foreign) -> None:
        if queue in self._expires:  # kombu's own short-lived queues
            super()._put(queue, message, **kwargs)
            return
        message, delay_s = without_delay(message, now_s=time())
        self.publish(queue, self.keys.step(priority_of(message)), [(delay_s, dumps(message))])

    def publish(self, lane: str, step: int, messages: list[tuple[float, str]]) -> None:
        """Put (delay in seconds, message) pairs into a lane. Raises `BrokerRefused`."""
        try:
            self.store.publish(lane, step, messages)
        except ResponseError as error:
            raise self._refusal(error) from None

    def lanes_of(self, message: Payload) -> list[str]:
        """The lanes that a message just published went to."""
        info = message["properties"]["delivery_info"]
        lanes: list[str] = self._lookup(info["exchange"], info["routing_key"])
        return lanes

    def _queue_bind(self, *args: Foreign, **kwargs: Foreign) -> None:
        try:
            super()._queue_bind(*args, **kwargs)
        except ResponseError as error:
            raise self._refusal(error) from None

    def _refusal(self, error: ResponseError) -> Exception:
        if not is_refusal(error):
            return error
        client = self.connection.client
        return BrokerRefused(
            f"Redis at {client.hostname}:{client.port or 6379} takes no messages: {error} "
            "Nothing was published; try again when it has memory, disk and its primary role."
        )

    def _size(self, queue: str) -> int:
        return self.store.ready_count(queue)

    def _purge(self, queue: str) -> int:
        delayed = self.keys.delayed(queue)
        with self.store.client.pipeline() as pipe:
            pipe.zcard(delayed)
            pipe.delete(delayed)
            purged, _ = pipe.execute()
        return int(super()._purge(queue) + purged)
