"""A job and the states it goes through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from config.catalogue import Complexity
from config.recipe import Recipe
from tasks.model.priority import Priority


class JobState(StrEnum):
    """Where a job is. What is in `ENDED` moves by a person's hand only."""

    QUEUED = "queued"
    """Its message is in a lane, or it waits in the lane's line for its turn to be published."""
    RUNNING = "running"
    """A worker has claimed it."""
    WAITING = "waiting"
    """A retry is in the delayed set."""
    PARKED = "parked"
    """Its lane is paused, and its message waits there: nobody's attempt."""
    DONE = "done"
    DEAD = "dead"
    """A dead letter: given up, until it is replayed or discarded."""
    UNCERTAIN = "uncertain"
    """Its worker died, or stopped, after the call was sent and before the answer was kept: it may have been billed."""
    CANCELLED = "cancelled"


class Step(StrEnum):
    """What moves a job from one state to the next."""

    CLAIM = "claim"
    SETTLE = "settle"
    """A right answer is stored."""
    DELAY = "delay"
    PARK = "park"
    BURY = "bury"
    HAND_BACK = "hand_back"
    """The worker stops, or died before it sent the call."""
    LOSE = "lose"
    """The worker died, or stopped, after it sent the call, and the answer is on no disk we know of."""
    REPLAY = "replay"
    CANCEL = "cancel"
    EXPIRE = "expire"
    """It was tried again and again until its deadline passed."""
    DISCARD = "discard"
    """A person gives up what waits for one."""


_WAYS: Mapping[tuple[JobState, Step], JobState] = {
    (JobState.QUEUED, Step.CLAIM): JobState.RUNNING,
    (JobState.WAITING, Step.CLAIM): JobState.RUNNING,
    (JobState.PARKED, Step.CLAIM): JobState.RUNNING,
    (JobState.RUNNING, Step.SETTLE): JobState.DONE,
    # Its answer came after all, from a worker given up or its spool: it is uncertain, or about to be asked again.
    (JobState.UNCERTAIN, Step.SETTLE): JobState.DONE,
    (JobState.QUEUED, Step.SETTLE): JobState.DONE,
    (JobState.WAITING, Step.SETTLE): JobState.DONE,
    (JobState.PARKED, Step.SETTLE): JobState.DONE,
    (JobState.RUNNING, Step.DELAY): JobState.WAITING,
    (JobState.RUNNING, Step.PARK): JobState.PARKED,
    (JobState.RUNNING, Step.BURY): JobState.DEAD,
    (JobState.WAITING, Step.EXPIRE): JobState.DEAD,
    (JobState.RUNNING, Step.HAND_BACK): JobState.QUEUED,
    (JobState.RUNNING, Step.LOSE): JobState.UNCERTAIN,
    (JobState.DEAD, Step.REPLAY): JobState.QUEUED,
    (JobState.UNCERTAIN, Step.REPLAY): JobState.QUEUED,
    (JobState.QUEUED, Step.CANCEL): JobState.CANCELLED,
    (JobState.WAITING, Step.CANCEL): JobState.CANCELLED,
    (JobState.PARKED, Step.CANCEL): JobState.CANCELLED,
    (JobState.RUNNING, Step.CANCEL): JobState.CANCELLED,
    (JobState.DEAD, Step.DISCARD): JobState.CANCELLED,
    (JobState.UNCERTAIN, Step.DISCARD): JobState.CANCELLED,
}


class WrongStep(ValueError):
    """A step that the job's state has no way out by."""


def advance(state: JobState, step: Step) -> JobState:
    """The state after `step`. Raises `WrongStep` when there is no such way."""
    try:
        return _WAYS[state, step]
    except KeyError:
        raise WrongStep(f"a {state.value} job cannot {step.value}") from None


def sources(step: Step) -> tuple[JobState, ...]:
    """The states that `step` may be taken from: the guard of its UPDATE."""
    return tuple(state for state, way in _WAYS if way is step)


ENDED = frozenset({JobState.DONE, JobState.DEAD, JobState.UNCERTAIN, JobState.CANCELLED})
"""Nothing moves these but a person."""


@dataclass(frozen=True, slots=True)
class Document:
    """What Claude is asked about: text, or a PDF as it is when it has no text of its own."""

    hash: str
    """SHA-256 of the bytes as they were submitted, in hex."""
    name: str
    """What the submitter called it: a path, or the id of a JSONL line."""
    text: str | None
    pdf: bytes | None = field(default=None, repr=False)
    pages: int | None = None
    """Of a PDF."""


@dataclass(frozen=True, slots=True)
class Job:
    """One document, one recipe, one complexity; as claimed by a worker."""

    id: str
    token: str
    """Proof of this claim: who does not hold it may not move the job."""
    generation: int
    """Counts the messages sent for this job: an older message loses the claim."""
    attempt: int
    """Tries that counted, before this one."""
    throttles: int
    """Times it was told to wait, which are not tries."""
    complexity: Complexity
    model: str | None
    """Model asked for by the submitter; None leaves it to the complexity."""
    recipe: Recipe
    values: Mapping[str, str]
    """The submitter's values for the recipe's parameters."""
    document: Document
    queued_ms: int
    """From its last publication to this claim."""
    faults: Mapping[str, int] = field(default_factory=dict)
    """How many of its attempts ended in each kind of fault, since it was submitted or replayed."""
    tried_since: datetime | None = None
    """Its deadline counts from here: from its first try, without the time that its retries lay in their lane when they
    were due."""


@dataclass(frozen=True, slots=True)
class LostJob:
    """A job whose worker is gone, as that worker had claimed it."""

    id: str
    token: str
    generation: int
    attempt: int
    lane: str
    crashes: int
    """Times its worker died before."""
    sent: bool
    """Whether it has a call that was sent and has no end."""
    priority: int = Priority.NORMAL.step


@dataclass(frozen=True, slots=True)
class Message:
    """What the broker is told of a job."""

    job_id: str
    generation: int
    queue: str
    wait_s: float = 0.0
    priority: int = Priority.NORMAL.step
