"""A job that was given up, for those who watch the broker."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.model.fault import Fault


@dataclass(frozen=True, slots=True)
class Burial:
    """What the dead-letter queue tells of it: ids and the reason, nothing of the document."""

    job_id: str
    generation: int
    lane: str
    fault: Fault
