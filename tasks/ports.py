"""What the tasks need from outside, as Protocols, gathered in one `World`.

The workers put a World in place when a process starts (`use`); a test puts in its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from config.catalogue import Catalogue
from config.prices import PriceBook
from config.settings import Settings
from tasks.model.call import Answer, Call, Prompt, Route
from tasks.model.job import Job
from tasks.model.verdict import Verdict


class LedgerUnavailable(Exception):
    """The database did not answer for so long that the message had better wait in the broker."""


class ClaimLost(Exception):
    """The job is not this worker's any more: nothing may be sent for it."""


class Claude(Protocol):
    """The far side of the wire."""

    async def ask(self, prompt: Prompt, route: Route) -> Answer:
        """One request, one Message. Raises `Fault`, never an exception of the SDK's."""


class Ledger(Protocol):
    """Where a job's state, its calls and their cost are true.

    Each method returns once its rows are committed, and raises `LedgerUnavailable` when that cannot be had. What was
    asked is written even when the asking coroutine is cancelled. Writes of many jobs share a transaction.
    """

    async def claim(self, job_id: str, generation: int) -> Job | None:
        """Take a queued or waiting job; None when another message, worker or person was faster."""

    async def sending(self, call: Call, route: Route, shell: str) -> None:
        """Write the intent of a call, the job's route, and the prompt's shell under its hash, before the request.

        Raises `ClaimLost` when another worker or a person has the job by now.
        """

    async def settle(self, job: Job, call: Call | None, verdict: Verdict) -> bool:
        """Record the call's end and move the job by the verdict, in one transaction.

        False when the job was not ours any more; the call is recorded all the same.
        """

    async def hand_back(self, job: Job, call: Call | None) -> None:
        """Put a job that was interrupted by a stop back to queued, and record what is known of its call."""


@dataclass(frozen=True, slots=True)
class World:
    """Everything foreign, in one place."""

    settings: Settings
    catalogue: Catalogue
    prices: PriceBook
    ledger: Ledger
    claude: Claude
    now: Callable[[], datetime]
    """The moment, with its time zone."""
    draw: Callable[[], float]
    """Chance: uniform over [0, 1)."""
    new_id: Callable[[str], str]
    """A fresh id that begins with the given prefix and sorts by the time it was made."""


_world: World | None = None


def use(world: World | None) -> None:
    """Put the process's World in place, or take it away."""
    global _world
    _world = world


def world() -> World:
    """The World of this process. Raises `RuntimeError` when no worker put one in place."""
    if _world is None:
        raise RuntimeError("no World here: document tasks run in a worker, started as `celery -A workers.app worker`")
    return _world
