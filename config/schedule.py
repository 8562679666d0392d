"""What beat sends, and how often.

A message that nobody took before the next one is due says nothing new: it expires.
"""

from __future__ import annotations

from typing import Any

SWEEP_EVERY_S = 5.0
"""Bounds how long the jobs of a dead worker, or a message the broker lost, go unnoticed."""
EXPIRE_EVERY_S = 3_600.0
"""Old dead letters are discarded with one sweep in so many seconds."""
UPKEEP_QUEUE = "docmill.upkeep"
"""A lane of its own: upkeep goes on however full the others are."""
UPKEEP_CONCURRENCY = 1


def beat_schedule() -> dict[str, dict[str, Any]]:
    """Celery's `beat_schedule`."""
    return {
        "sweep": {
            "task": "docmill.sweep",
            "schedule": SWEEP_EVERY_S,
            "options": {"queue": UPKEEP_QUEUE, "expires": SWEEP_EVERY_S},
        }
    }
