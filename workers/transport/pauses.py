"""Lanes that give no messages for a while, on all workers of a broker.

A pause lies in Redis, where each claim meets it. It ends by itself, and then the lane is half open: one message at a
time, until somebody says that one went well (`opened`) or pauses it again. A pause without an end is a person's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources

from workers.transport.foreign import Foreign
from workers.transport.keys import Keys

FARTHEST = datetime(9999, 1, 1, tzinfo=UTC)
"""The last moment told of: later ones are none any more in some time zones."""


@dataclass(frozen=True)
class Pause:
    """Why and how long a lane is paused."""

    reason: str
    """One line for a person."""
    fault: str
    """Kind of the fault that stopped it; "" for a person's pause."""
    by: str
    since: datetime
    until: datetime | None
    """None: until somebody resumes it."""
    is_half_open: bool
    """Whether the time is over and the lane gives one message at a time."""


class Pauses:
    """The pauses of one broker. The client must not prefix keys or decode answers; its errors pass through."""

    def __init__(self, client: Foreign, keys: Keys | None = None) -> None:
        self._client, self._keys = client, keys or Keys()
        self._pause, self._resume = (
            client.register_script(resources.files(__package__).joinpath(f"{name}.lua").read_text())
            for name in ("pause", "resume")
        )

    def pause(
        self, lanes: Sequence[str], reason: str, *, by: str, seconds: float | None = None, fault: str = ""
    ) -> list[str]:
        """Pause lanes, for `seconds` after a fault, else without end; those that were not paused for this before."""
        keys = [self._keys.paused(lane) for lane in lanes]
        args = ["" if seconds is None else seconds, reason, fault, by]
        return [lanes[number - 1] for number in self._pause(keys, args)] if lanes else []

    def resume(self, lanes: Sequence[str], *, fault: str | None = None) -> list[str]:
        """Let paused lanes work: at once after a person's pause, else on trial; those that were paused.

        With a `fault`, only where that one is the pause's: any other, a person's too, stays.
        """
        return self._let_go(lanes, ["all"] if fault is None else ["fault", fault])

    def opened(self, lane: str, took_s: float) -> bool:
        """A message of `lane` went well that was begun `took_s` ago: no more trials, if that was after the pause."""
        return bool(self._let_go([lane], ["tried", took_s]))

    def _let_go(self, lanes: Sequence[str], args: list[str | float]) -> list[str]:
        keys = [key for lane in lanes for key in (self._keys.paused(lane), self._keys.wake(lane))]
        return [lanes[number - 1] for number in self._resume(keys, args)] if lanes else []

    def read(self, lanes: Sequence[str]) -> dict[str, Pause]:
        """The lanes that are not open, in one round trip."""
        with self._client.pipeline(transaction=False) as pipe:
            pipe.time()
            for lane in lanes:
                pipe.hmget(self._keys.paused(lane), "reason", "fault", "by", "since", "until")
            (seconds, microseconds), *found = pipe.execute()
        now = seconds + microseconds / 1_000_000
        return {
            lane: _pause([field.decode("utf-8", "replace") for field in fields], now)
            for lane, fields in zip(lanes, found, strict=True)
            if None not in fields
        }


def _pause(fields: Sequence[str], now: float) -> Pause:
    reason, fault, by, since, until = fields
    return Pause(
        reason=reason,
        fault=fault,
        by=by,
        since=_moment(since),
        until=_moment(until) if until else None,
        is_half_open=bool(until) and float(until) <= now,
    )


def _moment(unix_s: str) -> datetime:
    """The moment, or `FARTHEST` for what is beyond it, or no number at all: one bad pause hides no other."""
    try:
        return min(datetime.fromtimestamp(float(unix_s), UTC), FARTHEST)
    except (ValueError, OverflowError, OSError):
        return FARTHEST
