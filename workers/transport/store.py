"""What is done to messages in Redis, each step atomic. Nothing here knows kombu's channels or Celery's workers.

The client must not prefix keys or decode answers. Its errors pass through.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from time import time

from kombu.log import get_logger
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError

from workers.transport.errors import Malformed
from workers.transport.foreign import Foreign
from workers.transport.keys import Keys, lane_of, unwrap
from workers.transport.wire import decode, priority_of, redelivered

log = get_logger(__name__)


@dataclass(frozen=True)
class Claim:
    """A request for up to `credit` messages: `room[n]` at most from `lanes[n]`.

    `ticket` begins their tags. Lanes take turns, unless not `in_turn`: then the first that has something comes first.
    The most urgent messages come first, or with `least_first` one of the least urgent of each lane before them.
    """

    ticket: str
    credit: int
    lanes: Sequence[str]
    room: Sequence[int]
    in_turn: bool = True
    least_first: bool = False

    def taken(self, reply: Sequence[Foreign]) -> list[tuple[str, str, bytes]]:
        """(tag, lane, message) of each message in the answer of `claim.lua`."""
        found = zip(reply[1::2], reply[2::2], strict=True)
        return [
            (f"{self.lanes[number]}/{self.ticket}{n}", self.lanes[number], item)
            for n, (number, item) in enumerate(found, start=1)
        ]


class Store:
    """The messages of one broker."""

    def __init__(self, client: Foreign, keys: Keys) -> None:
        self.client, self.keys = client, keys
        self._publish, self._claim, self._move, self._refresh = (
            client.register_script(resources.files(__package__).joinpath(f"{name}.lua").read_text())
            for name in ("publish", "claim", "move", "refresh")
        )

    def publish(self, lane: str, step: int, messages: Iterable[tuple[float, str]]) -> None:
        """Put (delay in seconds, message) pairs into a lane, those with a delay into its delayed set."""
        keys = [self.keys.ready(lane, step), self.keys.delayed(lane), self.keys.wake(lane)]
        self._publish(keys, [step, *(part for pair in messages for part in pair)])

    def claim(self, claim: Claim) -> Sequence[Foreign]:
        """Take what `claim` asks for; the answer of `claim.lua`."""
        keys, args = self._claim_args(claim)
        answer: Sequence[Foreign] = self._claim(keys, args)
        return answer

    def claim_command(self, claim: Claim) -> list[Foreign]:
        """The same as a command to send. Answered with NOSCRIPT until `load` has told Redis the script."""
        keys, args = self._claim_args(claim)
        return ["EVALSHA", self._claim.sha, len(keys), *keys, *args]

    def load(self) -> None:
        """Tell Redis the claim script."""
        self.client.script_load(self._claim.script)

    def _claim_args(self, claim: Claim) -> tuple[list[str], list[Foreign]]:
        keys = [self.keys.unacked, self.keys.unacked_index]
        steps = "".join(map(str, self.keys.steps))
        args = [claim.credit, claim.ticket, steps, int(claim.in_turn), int(claim.least_first)]
        for lane, room in zip(claim.lanes, claim.room, strict=True):
            keys += self.keys.of_lane(lane)
            args += [room, lane, json.dumps(lane)]
        return keys, args

    def forget(self, tags: Sequence[str], *, ring: str | None = None) -> None:
        """These are done. `ring` names a wake key to set in the same round trip."""
        with self.client.pipeline(transaction=False) as pipe:
            pipe.zrem(self.keys.unacked_index, *tags)
            pipe.hdel(self.keys.unacked, *tags)
            if ring is not None:
                pipe.zadd(ring, {"": 0})
                pipe.pexpire(ring, 60_000)
            pipe.execute()

    def refresh(self, tags: Sequence[str]) -> None:
        """Vouch for these, so that nobody takes them for abandoned."""
        for start in range(0, len(tags), 1000):
            self._refresh([self.keys.unacked_index], tags[start : start + 1000])

    def restore(self, tags: Sequence[str], *, last: bool = False, silent_since: float | None = None) -> int:
        """Put unacked messages back into their lanes, marked as redelivered; how many it were.

        They come next in their lane, or `last`. With `silent_since`, a message somebody has vouched for after that
        second (server clock) stays. One that cannot be read goes to quarantine.
        """
        moved = 0
        entries = self.client.hmget(self.keys.unacked, list(tags)) if tags else []
        for tag, entry in zip(tags, entries, strict=True):
            if entry is None:  # acked meanwhile
                self.client.zrem(self.keys.unacked_index, tag)
                continue
            lane, item = lane_of(tag), entry
            try:
                lane, item = _opened(tag, entry)
                payload = decode(item)
            except Malformed as fault:
                self._put_aside(tag, lane, item, str(fault))
                continue
            keys = self._move_keys(self.keys.ready(lane, self.keys.step(priority_of(payload))), lane)
            ceiling = "" if silent_since is None else repr(silent_since)
            moved += self._move(keys, [tag, redelivered(payload), "LPUSH" if last else "RPUSH", ceiling])
        return moved

    def quarantine(self, tag: str, reason: str) -> None:
        """Move an unacked message of ours to quarantine, whole."""
        entry = self.client.hget(self.keys.unacked, tag)
        if entry is not None:
            lane = lane_of(tag)
            self._put_aside(tag, lane, unwrap(entry, lane), reason)

    def _put_aside(self, tag: str, lane: str, item: bytes, reason: str) -> None:
        about = json.dumps({"lane": lane, "reason": reason, "at": round(time(), 3)}).encode()
        if self._move(self._move_keys(self.keys.quarantine, lane), [tag, about + b"\n" + item, "HSET", ""]):
            log.error("quarantined a message of %r: %s", lane, reason)

    def _move_keys(self, target: str, lane: str) -> list[str]:
        return [self.keys.unacked, self.keys.unacked_index, target, self.keys.wake(lane)]

    def release(self, id_: str, lane: str, step: int, item: bytes) -> bool:
        """Put a message from quarantine back into its lane; False if somebody was faster."""
        keys = [self.keys.quarantine, self.keys.unacked_index, self.keys.ready(lane, step), self.keys.wake(lane)]
        return bool(self._move(keys, [id_, item, "LPUSH", ""]))

    def ready_count(self, lane: str) -> int:
        """Messages of a lane that are ready. No transaction: Redis 7.0 refuses even those that only read when full."""
        with self.client.pipeline(transaction=False) as pipe:
            for step in self.keys.steps:
                pipe.llen(self.keys.ready(lane, step))
            return sum(pipe.execute())

    def unacked(self) -> list[str]:
        """Tags of all messages that some worker holds."""
        return [tag.decode() for tag in self.client.zrange(self.keys.unacked_index, 0, -1)]

    def silent_before(self, since: float) -> list[str]:
        """Up to 1,000 tags nobody has vouched for after that second (server clock)."""
        tags = self.client.zrange(self.keys.unacked_index, "-inf", repr(since), byscore=True, offset=0, num=1000)
        return [tag.decode() for tag in tags]

    def now(self) -> float:
        """The server's clock, Unix time."""
        seconds, microseconds = self.client.time()
        return float(seconds + microseconds / 1_000_000)

    def uptime_s(self) -> int:
        """How long ago the server started."""
        return int(self.client.info("server")["uptime_in_seconds"])


def is_refusal(error: Exception) -> bool:
    """Whether Redis cannot write at the moment, which passes."""
    return isinstance(error, OutOfMemoryError | ReadOnlyError) or (
        isinstance(error, ResponseError) and str(error).startswith(("OOM", "READONLY", "MISCONF"))
    )


def _opened(tag: str, entry: bytes) -> tuple[str, bytes]:
    """(lane, message) of an entry of the unacked hash, be it ours or stock kombu's."""
    lane = lane_of(tag)
    if lane:
        return lane, unwrap(entry, lane)
    try:
        payload, _, lane = json.loads(entry)
    except ValueError:
        raise Malformed("not JSON") from None
    return lane, json.dumps(payload).encode()
