"""Makes a Celery app, and everything in its process that opens a Redis URL, use this transport."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kombu import transport

from workers.transport.foreign import Foreign
from workers.transport.watchdog import Watchdog

if TYPE_CHECKING:
    from celery import Celery

ALIASES = {
    "redis": "workers.transport.transport:Transport",
    "rediss": "workers.transport.transport:Transport",
    "sentinel": "workers.transport.transport:SentinelTransport",
}

SETTINGS: dict[str, Foreign] = {
    "worker_consumer": "workers.transport.consumer:Consumer",
    # Kept messages count against the credit after a reconnect; Celery would count them a second time.
    "worker_enable_prefetch_count_reduction": False,
    # A broker that is full or read-only ends a worker without this.
    "broker_channel_error_retry": True,
    # A task goes on without the broker, and is acked when it is back.
    "worker_cancel_long_running_tasks_on_connection_loss": False,
}


def install(app: Celery) -> None:
    """Call once where the app is made. Broker URLs stay what they were: redis, rediss, sentinel, failover lists.

    The alias and not `broker_transport` or a scheme of our own: kombu's failover and Flower's Broker page go by
    the URL's scheme, and both know these.
    """
    aliases: Foreign = transport
    aliases.TRANSPORT_ALIASES.update(ALIASES)
    for scheme in ALIASES:
        aliases._transport_cache.pop(scheme, None)  # noqa: SLF001  # it may have been looked up before
    app.conf.update(SETTINGS)
    app.steps["consumer"].add(Watchdog)
