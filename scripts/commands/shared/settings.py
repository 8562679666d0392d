"""The broker that this process was told of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from config.files import BadConfig
from config.settings import Settings
from config.stack import broker_url

if TYPE_CHECKING:
    import redis

BROKER_TIMEOUT_S = 3


def broker(settings: Settings) -> redis.Redis | None:
    """A client to the broker, not yet connected. None where the address is no single server's (Sentinel, a list).

    Raises `NotConfigured` where no broker is known.
    """
    import redis  # 0.1 s of CPU that a command without a broker need not pay

    url = broker_url(settings)
    try:
        return redis.Redis.from_url(
            url, socket_connect_timeout=BROKER_TIMEOUT_S, socket_timeout=BROKER_TIMEOUT_S, retry=None
        )
    except ValueError:
        if url.startswith("sentinel") or ";" in url:
            return None
        raise BadConfig("DOCMILL_REDIS_URL is no Redis URL: write redis://host:6379/0") from None


def check_broker(settings: Settings) -> None:
    """Raises `NotConfigured` or a Redis error: better before a submission is begun than after it is stored."""
    client = broker(settings)
    if client is not None:
        with client:
            client.ping()
