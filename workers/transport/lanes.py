"""How many messages of each lane one worker process may hold at once.

Values only. `claim.lua` enforces them, `channel` counts what is held.
"""

from __future__ import annotations

from collections.abc import Mapping


class LaneLimits:
    """Limits by queue name, for `broker_transport_options={"lane_limits": ...}`.

    A lane without a limit takes what the prefetch credit allows; 0 takes nothing. Keep the object and change it
    while the worker runs, from any thread: the next claim, at most a second later, goes by the new value, and
    messages already held run on. Raises `ValueError` for a negative limit.
    """

    def __init__(self, limits: Mapping[str, int] | None = None) -> None:
        self._limits: dict[str, int] = {}
        self._paused: frozenset[str] = frozenset()
        for lane, limit in (limits or {}).items():
            self.set(lane, limit)

    def set(self, lane: str, limit: int | None) -> None:
        """Hold at most `limit` messages of `lane` at once; None lifts the limit."""
        if limit is None:
            self._limits.pop(lane, None)
        elif limit < 0:
            raise ValueError(f"lane limit of {lane!r} is {limit}: give 0 or more, or None for no limit")
        else:
            self._limits[lane] = limit

    def pause(self, lane: str) -> None:
        """Take nothing from `lane` until `resume`."""
        self._paused |= {lane}

    def resume(self, lane: str) -> None:
        """Undo `pause`; the limit is what it was."""
        self._paused -= {lane}

    def paused(self) -> frozenset[str]:
        """The lanes that are paused here."""
        return self._paused

    def room(self, lane: str, *, held: int, credit: int) -> int:
        """How many more messages of `lane` may be claimed when `held` are here and `credit` slots are free."""
        if lane in self._paused:
            return 0
        return max(0, min(credit, self._limits.get(lane, held + credit) - held))

    def __repr__(self) -> str:
        return "LaneLimits()"  # kombu tells connections apart by the repr of their options, and limits change
