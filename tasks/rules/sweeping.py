"""How many messages the broker has lost, by what it holds and what the ledger believes."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.model.standing import Held, Standing


def lost_messages(
    standing: Mapping[str, Standing], before: Mapping[str, Held], after: Mapping[str, Held]
) -> dict[str, int]:
    """Missing messages by queue, where there are any.

    The ledger's counts (`standing`) were taken between the broker's: a message that moved meanwhile is in one of them,
    so the higher one counts.
    """
    missing = {
        queue: jobs.waiting - max(_held(before, queue, jobs.running), _held(after, queue, jobs.running))
        for queue, jobs in standing.items()
    }
    return {queue: count for queue, count in missing.items() if count > 0}


def _held(counts: Mapping[str, Held], queue: str, running: int) -> int:
    """Messages of jobs that wait: in line, or with a worker that has yet to claim their jobs."""
    held = counts.get(queue, Held())
    return held.in_line + max(0, held.unacked - running)
