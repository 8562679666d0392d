"""What beat sends, and how often.

A message that nobody took before the next one is due says nothing new: it expires.
"""

from __future__ import annotations

from typing import Any

SWEEP_EVERY_S = 5.0
"""Bounds how long the jobs of a dead worker, or a message the broker lost, go unnoticed."""
EXPIRE_EVERY_S = 3_600.0
"""Old dead letters are discarded with one sweep in so many seconds."""
RECOUNT_EVERY_S = 600.0
"""What budgets have used is compared with the calls with one sweep in so many seconds."""
UPKEEP_QUEUE = "docmill.upkeep"
"""A lane of its own: upkeep goes on however full the others are."""
UPKEEP_CONCURRENCY = 3
"""Sweeping, totalling and alerting, each beside the others: the latter two take one slot each at most."""
ALERT_EVERY_S = 10.0
"""How long an alert waits for its first try on a channel."""


def beat_schedule(total_every_s: float) -> dict[str, dict[str, Any]]:
    """Celery's `beat_schedule`; the day is totalled each `total_every_s`."""
    intervals_s = {"sweep": SWEEP_EVERY_S, "total": total_every_s, "alert": ALERT_EVERY_S}
    return {
        name: {
            "task": f"docmill.{name}",
            "schedule": every_s,
            "options": {"queue": UPKEEP_QUEUE, "expires": every_s},
        }
        for name, every_s in intervals_s.items()
    }
