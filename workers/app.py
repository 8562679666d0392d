"""The Celery app: `celery -A workers.app worker`, `celery -A workers.app flower`.

Importing it reads nothing. Celery asks for the configuration when a process first needs it, and then the settings are
read, once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.signals import setup_logging
from kombu import Exchange, Queue

from config.catalogue import load_catalogue
from config.schedule import UPKEEP_CONCURRENCY, UPKEEP_QUEUE, beat_schedule
from config.settings import Settings, load_settings
from config.stack import broker_url
from workers import lifecycle, logs
from workers.pool import AsyncioCelery
from workers.transport import LaneLimits, install


def make_app(read_settings: Callable[[], Settings]) -> AsyncioCelery:
    """A Celery app that reads its settings when it first needs its configuration.

    Then it raises `BadConfig` or `NotConfigured` where they do not do.
    """
    made = AsyncioCelery("docmill", include=["tasks.document", "tasks.sweeping", "tasks.spending", "tasks.alerting"])
    made.add_defaults(lambda: configuration(read_settings()))
    install(made)
    return made


def configuration(settings: Settings) -> dict[str, Any]:
    """Celery's configuration, from the settings and the catalogue. Raises `BadConfig`, `NotConfigured`."""
    concurrency = load_catalogue(settings.home).queues | {UPKEEP_QUEUE: UPKEEP_CONCURRENCY}
    return {
        "broker_url": broker_url(settings),
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": {
            "lane_limits": LaneLimits(concurrency),
            "visibility_timeout": settings.visibility_timeout_s,
            "unacked_restore_interval": 5,  # how often a lane is looked over for messages of the dead
            "socket_timeout": 10,  # without them a publish to a broker that went away hangs for ever
            "socket_connect_timeout": 2,
        },
        "worker_pool": "workers.pool:AsyncioPool",
        "worker_concurrency": sum(concurrency.values()),
        "worker_drain_timeout_s": settings.drain_timeout_s,
        "worker_prefetch_multiplier": 1,  # what is fetched is run: a job waits in its lane, where others can take it
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_ignore_result": True,  # the ledger has the results
        "task_queues": [Queue(queue, Exchange(queue), routing_key=queue) for queue in concurrency],
        "task_default_queue": next(iter(concurrency)),
        "task_create_missing_queues": False,
        "beat_schedule": beat_schedule(settings.total_every_s),
        "task_serializer": "json",
        "accept_content": ["json"],
        "enable_utc": True,
        "timezone": "UTC",
    }


app = make_app(load_settings)
lifecycle.connect()


@setup_logging.connect
def _set_up_logging(**_: object) -> None:
    logs.configure(load_settings().log_level)
