"""Tells feeders which lanes have jobs waiting in the ledger, so that they ask the ledger for nothing else.

A lane is in the `line` set, scored by the second (server clock) from which something of it can be fed. What Redis
forgets is rung again by the sweeper, which counts what waits.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from importlib import resources

from workers.transport.foreign import Foreign
from workers.transport.keys import Keys

TENURE_S = 2.0
"""A feeder that has not asked for so long has no say any more: another one feeds."""


@cache
def _script() -> str:
    return resources.files(__package__).joinpath("due.lua").read_text()


class Bell:
    """The bell of one broker. The client must not prefix keys or decode answers; its errors pass through."""

    def __init__(self, client: Foreign, keys: Keys | None = None) -> None:
        self._client, self._keys = client, keys or Keys()
        self._due = client.register_script(_script())

    def ring(self, lanes: Collection[str]) -> None:
        """Something waits in these lanes' lines, and is committed."""
        if lanes:
            self._client.zadd(self._keys.line, dict.fromkeys(lanes, 0))

    def rung(self) -> set[str]:
        """Lanes in whose line something waits, be it for its time."""
        return {lane.decode() for lane in self._client.zrange(self._keys.line, 0, -1)}

    def due(self, feeder: str) -> list[str]:
        """Lanes of which something can be fed now, if it is this feeder's to do so."""
        lanes = self._due([self._keys.line, self._keys.feeder], [feeder, int(TENURE_S * 1000)])
        return [lane.decode() for lane in lanes]

    def quiet(self, lane: str, wait_s: float | None) -> None:
        """Nothing of this lane can be fed for so long; None is until it is rung again.

        Who rings meanwhile must be heard: look into the ledger once more after this.
        """
        if wait_s is None:
            self._client.zrem(self._keys.line, lane)
        else:
            seconds, microseconds = self._client.time()
            self._client.zadd(self._keys.line, {lane: seconds + microseconds / 1_000_000 + wait_s})
