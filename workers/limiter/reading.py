"""How the fleet stands with its rate limits, for those who look from outside."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tasks.rules.limiting import Amounts
from workers.limiter.bucket import LIVES_S, bucket_key, index_key, processes_key
from workers.transport import Keys

KINDS = ("requests", "input", "output")
WAITING = "waiting:"


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """One key's limits for one class of models, and what is made of them."""

    fingerprint: str
    """Of the API key."""
    limit_class: str
    limits: Amounts
    """Per minute; 0 where not known."""
    share: float
    """Of the limits that the fleet goes for now."""
    used: Amounts
    """In the last minute, about."""
    paused_until: datetime | None
    """None while it is not."""
    waiting: int
    """Calls that wait for their turn."""
    processes: int
    """Workers that use it now."""


def read_limits(client: Any, keys: Keys | None = None) -> list[LimitStatus]:  # noqa: ANN401 - redis-py's own types
    """Every bucket used in the last hour, in two round trips. The client must not decode answers; its errors pass."""
    keys = keys or Keys()
    names = sorted(name.decode() for name in client.zrange(index_key(keys), 0, -1))
    with client.pipeline(transaction=False) as pipe:
        pipe.time()
        for name in names:
            pipe.hgetall(bucket_key(keys, name))
            pipe.zrange(processes_key(keys, name), 0, -1, withscores=True)
        (seconds, microseconds), *found = pipe.execute()
    now = seconds + microseconds / 1_000_000
    return [
        _status(name, {key.decode(): value.decode() for key, value in fields.items()}, dict(seen), now)
        for name, fields, seen in zip(names, found[::2], found[1::2], strict=True)
        if fields
    ]


def _status(name: str, fields: dict[str, str], seen: dict[bytes, float], now: float) -> LimitStatus:
    fingerprint, _, limit_class = name.partition(":")
    living = {process.decode() for process, at in seen.items() if now - at < LIVES_S}
    paused_until = float(fields["paused_until"])
    return LimitStatus(
        fingerprint=fingerprint,
        limit_class=limit_class,
        limits=_amounts(fields, "limit"),
        share=float(fields["share"]),
        used=_used(fields, now),
        paused_until=datetime.fromtimestamp(paused_until, UTC) if paused_until > now else None,
        waiting=sum(int(float(fields.get(WAITING + process, "0").split()[0])) for process in living),
        processes=len(living),
    )


def _used(fields: dict[str, str], now: float) -> Amounts:
    """This minute's use, and of the last one's the part that is still within 60 s."""
    minutes = int(now // 60) - int(fields["minute"])
    shares = {0: (1.0, 1 - now % 60 / 60), 1: (1 - now % 60 / 60, 0.0)}.get(minutes, (0.0, 0.0))
    so_far, before = _amounts(fields, "now"), _amounts(fields, "before")
    return Amounts(*(max(0.0, so_far[n] * shares[0] + before[n] * shares[1]) for n in range(3)))


def _amounts(fields: dict[str, str], stem: str) -> Amounts:
    return Amounts(*(float(fields[f"{stem}:{kind}"]) for kind in KINDS))


__all__ = ["LimitStatus", "read_limits"]
