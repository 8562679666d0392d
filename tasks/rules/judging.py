"""What becomes of a job whose worker died, or stopped in the midst of it.

Decides only. `tasks.sweeping` looks for the dead, and judges once what they had paid for is settled.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

SUSPECT_AFTER = 2
"""Deaths. One is bad luck; two may be the document's doing."""
DEAD_AFTER = 3
"""Deaths, the last of them alone in its lane, while hardly any other worker died."""
DEAD_ANYWAY = 10
"""Deaths, the last of them alone in its lane, however many others died: no storm strikes one document so often."""
LATELY_S = 300.0
"""How far back other workers' deaths count. Well beyond three deaths of a document that kills at once."""


class Fate(StrEnum):
    """What becomes of it."""

    AGAIN = "again"
    """Back to its lane."""
    ALONE = "alone"
    """To the suspect lane, where one job runs at a time."""
    UNCERTAIN = "uncertain"
    """Left to a person: its call may have been billed."""
    DEAD = "dead"
    """A dead letter."""


def judge_lost(*, sent: bool, on_crash: Literal["hold", "retry"], crashes: int, alone: bool, died_lately: int) -> Fate:
    """The fate of a job that was running in a worker that died.

    Args:
        sent: Whether a request had gone out, or was about to, whose answer was not kept.
        on_crash: Whether such a job is held for a person or asked again.
        crashes: Times its worker died before.
        alone: Whether it ran in the suspect lane.
        died_lately: Workers that died within the last `LATELY_S`, this one included.
    """
    deaths = crashes + 1
    if alone and is_culprit(deaths, died_lately):
        return Fate.DEAD
    if sent and on_crash == "hold":
        return Fate.UNCERTAIN
    return Fate.ALONE if deaths >= SUSPECT_AFTER else Fate.AGAIN


def judge_stopped(*, sent: bool, on_crash: Literal["hold", "retry"]) -> Fate:
    """The fate of a job whose worker stops before it has ended; `sent` as in `judge_lost`, which it is like."""
    return Fate.UNCERTAIN if sent and on_crash == "hold" else Fate.AGAIN


def is_culprit(deaths: int, died_lately: int) -> bool:
    """Whether so many deaths of a job's workers speak against the job.

    Where a third of the workers that died lately died without it, something else may kill them, and the job was in the
    way: of ten jobs that a worker takes with it, one is soon there when the next two are killed.
    """
    others = max(0, died_lately - deaths)
    return deaths >= DEAD_AFTER and (deaths > 2 * others or deaths >= DEAD_ANYWAY)
