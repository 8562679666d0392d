"""What no worker could read or run: list it, put it back, drop it.

For people and `docmill doctor`. `channel` puts messages in.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from workers.transport.errors import Malformed
from workers.transport.foreign import Foreign
from workers.transport.keys import Keys
from workers.transport.store import Store
from workers.transport.wire import decode, priority_of


@dataclass(frozen=True)
class Quarantined:
    """One message: `message` is exactly what lay in the lane, so it may hold anything. Not for a log."""

    id: str
    lane: str
    reason: str
    since: datetime
    message: bytes


class Quarantine:
    """The quarantine of one broker, over a client without key prefix and with `decode_responses` off."""

    def __init__(self, client: Foreign, keys: Keys | None = None) -> None:
        self._client = client
        self._keys = keys or Keys()

    def count(self) -> int:
        """How many messages are in quarantine."""
        return int(self._client.hlen(self._keys.quarantine))

    def list(self, limit: int = 100) -> list[Quarantined]:
        """Up to `limit` of them, in no particular order."""
        entries = self._client.hscan_iter(self._keys.quarantine, count=100)
        return [_parse(id_.decode(), entry) for id_, entry in islice(entries, limit)]

    def requeue(self, *ids: str) -> int:
        """Put these back into their lanes as they were; how many it were. An unknown id is passed over."""
        store = Store(self._client, self._keys)
        released = 0
        for id_ in ids:
            entry = self._client.hget(self._keys.quarantine, id_)
            if entry is not None:
                found = _parse(id_, entry)
                released += store.release(id_, found.lane, self._keys.step(_priority(found.message)), found.message)
        return released

    def drop(self, *ids: str) -> int:
        """Delete these for good; how many it were."""
        return int(self._client.hdel(self._keys.quarantine, *ids)) if ids else 0


def _priority(message: bytes) -> int:
    try:
        return priority_of(decode(message))
    except Malformed:
        return 0


def _parse(id_: str, entry: bytes) -> Quarantined:
    head, _, message = entry.partition(b"\n")
    about = json.loads(head)
    return Quarantined(id_, about["lane"], about["reason"], datetime.fromtimestamp(about["at"], UTC), message)
