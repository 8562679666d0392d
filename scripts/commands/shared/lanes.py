"""Paused lanes, told to a person: which, why, until when, and what to do about it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from config.catalogue import load_catalogue
from config.settings import Settings
from config.stack import NotConfigured
from scripts.commands.shared import terminal
from scripts.commands.shared.figures import span
from scripts.commands.shared.settings import broker

if TYPE_CHECKING:
    from workers.transport import Pause

LOOK_EVERY_S = 1.0

ADVICE = {
    "Unauthorized": "set a valid ANTHROPIC_API_KEY, and start again what has the old one",
    "BillingStopped": "add credit, or mend the billing, at Claude's console",
    "SpendCap": "raise the limit at Claude's console, or wait",
    "UnknownModel": "route to another model in catalogue.toml, and start again what has the old one",
    "OverBudget": "`docmill budget` tells what is left of it, and `docmill budget set day` raises it",
    "Unkeepable": "make room on the disk",
    "": "`docmill lanes resume` lets it work again",
}
"""What a person can do, by the kind of fault that stopped a lane. Others pass by themselves."""


def read_pauses(settings: Settings) -> dict[str, Pause]:
    """The lanes that are paused or tried; none where the broker's address is no single server's.

    Raises `NotConfigured` or a Redis error.
    """
    client = broker(settings)
    if client is None:
        return {}
    from workers.transport import Pauses  # Celery comes with it, which a command without a broker need not pay

    with client:
        return Pauses(client).read(list(load_catalogue(settings.home).queues))


def tell(pauses: Mapping[str, Pause], now: datetime | None = None) -> list[tuple[str, str]]:
    """A line for each trouble, whatever lanes it stops, and what to do about it: empty where waiting does."""
    troubles: dict[tuple[str, str, str], list[str]] = {}
    for lane, pause in pauses.items():
        troubles.setdefault((pause.fault, pause.reason, pause.by), []).append(lane)
    return [
        (_line(lanes, pauses[lanes[0]], now or datetime.now(UTC)), ADVICE.get(fault, ""))
        for (fault, _, _), lanes in troubles.items()
    ]


def _line(lanes: list[str], pause: Pause, now: datetime) -> str:
    who = f"lane {lanes[0]} is" if len(lanes) == 1 else f"lanes {', '.join(lanes)} are"
    by = "" if pause.fault else f" by {pause.by}"
    return f"{who} paused{by}: {pause.reason}; {ending(pause, now)}"


def ending(pause: Pause, now: datetime) -> str:
    """`tried again in 40 s`, `tried with one job at a time`, `until resumed`."""
    if pause.until is None:
        return "until resumed"
    if pause.is_half_open:
        return "tried with one job at a time"
    return f"tried again in {span(max(0.0, (pause.until - now).total_seconds()))}"


class PauseNotes:
    """Says on stderr what stops the lanes, each trouble once, to somebody who waits for answers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._said: set[tuple[str, str]] = set()
        self._next_look = 0.0

    def look(self) -> None:
        """Look, if a second has passed since the last time. A broker that cannot be asked is not this one's to tell."""
        import redis

        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_EVERY_S
        try:
            pauses = read_pauses(self._settings)
        except (NotConfigured, redis.RedisError):
            return
        new = {
            lane: pause
            for lane, pause in pauses.items()
            if not pause.is_half_open and (lane, pause.fault) not in self._said
        }
        self._said |= {(lane, pause.fault) for lane, pause in new.items()}
        for line, advice in tell(new):
            terminal.note(f"{line}; jobs wait there and lose nothing", "yellow")
            if advice:
                terminal.note(f"→ {advice}", "yellow")
