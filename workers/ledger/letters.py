"""Jobs that wait for a person, dead letters and uncertain ones: which there are, and why.

Changes nothing: that is `workers.ledger.replaying`. A letter is a job's row, so nothing can lose it or say otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from config.catalogue import Complexity
from config.recipe import Recipe
from tasks.model.call import CallState
from tasks.model.job import JobState
from tasks.rules import fingerprint as rule
from workers.ledger.database import Database
from workers.ledger.moving import Recipes
from workers.ledger.stories import CallLine, EventLine, FaultLine, Story
from workers.ledger.tables import calls, documents, items, jobs

CHUNK = 1_000
"""Letters of one transaction: a tenth of a second in which nobody else writes to SQLite."""


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which letters are meant: those that meet every condition given. None is no condition."""

    state: JobState = JobState.DEAD
    """DEAD, or UNCERTAIN."""
    job_ids: tuple[str, ...] = ()
    fault: str | None = None
    """Kind of the last fault: `Rejected`."""
    status: int | None = None
    """HTTP status of the last fault."""
    submission_id: str | None = None
    """A submission whose documents they are, created by it or known to it."""
    recipe: str | None = None
    complexity: Complexity | None = None
    since: datetime | None = None
    """Given up at this moment or later."""
    until: datetime | None = None
    """Given up before this moment."""
    message: str | None = None
    """Part of the last fault's message, whatever the case."""
    fingerprint: str | None = None
    """Or its beginning; see `tasks.rules.fingerprint`."""
    everything: bool = False
    """Says that no condition is meant; whatever changes letters refuses to guess that."""

    @property
    def empty(self) -> bool:
        """Whether no condition was given, and nobody said that everything is meant. Empty text is no condition."""
        return not any(getattr(self, each.name) for each in fields(self) if each.name != "state")


@dataclass(frozen=True, slots=True)
class Letter:
    """A job that was given up, with what its replay would cost depends on."""

    id: str
    key: str
    generation: int
    submission_id: str
    name: str
    document_hash: str
    recipe: Recipe
    values: Mapping[str, str]
    complexity: Complexity
    lane: str
    priority: int
    """The broker's step."""
    model: str | None
    fault: FaultLine | None
    fingerprint: str
    ended_at: datetime
    characters: int | None
    """Of the document's text; None for a PDF that is sent as it is."""
    pages: int | None
    unknown_estimate_nanousd: int
    """What its calls of unknown cost may have cost at most."""


@dataclass(frozen=True, slots=True)
class LetterGroup:
    """Letters of one lane that were given up for the same reason."""

    fingerprint: str
    lane: str
    fault: str | None
    status: int | None
    code: str | None
    message: str
    """Its pattern: what differs from job to job is `#`."""
    letters: int
    oldest: datetime
    newest: datetime
    example: str
    """Id of one of its jobs."""


@dataclass(frozen=True, slots=True)
class Cause:
    """An attempt that failed, was put off or was lost, with its calls."""

    at: datetime
    what: str
    """The event's kind, such as `delayed` or `buried`."""
    generation: int
    attempt: int
    fault: FaultLine | None
    calls: tuple[CallLine, ...]


def read_letters(database: Database, wanted: LetterFilter) -> Iterator[list[Letter]]:
    """The letters in chunks, in the order of their ids, each read as of its moment. Memory stays flat."""
    recipes = Recipes()
    if wanted.job_ids:
        ids = sorted(set(wanted.job_ids))
        for start in range(0, len(ids), CHUNK):
            part = replace(wanted, job_ids=tuple(ids[start : start + CHUNK]))
            _, found = database.read(partial(_letters, wanted=part, after="", recipes=recipes))
            yield found
        return
    after: str | None = ""
    while after is not None:
        after, found = database.read(partial(_letters, wanted=wanted, after=after, recipes=recipes))
        yield found


def states_of(database: Database, job_ids: Sequence[str]) -> dict[str, JobState]:
    """The states that these jobs are in, by id, in the order given. One that is no job is left out."""
    found: dict[str, str] = {}
    for start in range(0, len(job_ids), CHUNK):
        found |= database.read(partial(_states, job_ids=job_ids[start : start + CHUNK]))
    return {job_id: JobState(found[job_id]) for job_id in job_ids if job_id in found}


def group_letters(database: Database, wanted: LetterFilter) -> list[LetterGroup]:
    """The letters by fingerprint and lane, the largest group first."""
    reason = (jobs.c.fault, jobs.c.fault_status, jobs.c.fault_code, jobs.c.fault_message)
    counted = (
        select(*reason, jobs.c.lane, func.count(), func.min(_ended_at), func.max(_ended_at), func.max(jobs.c.id))
        .where(*_conditions(wanted))
        .group_by(*reason, jobs.c.lane)
    )
    found: dict[tuple[str, str], LetterGroup] = {}
    for fault, status, code, message, lane, count, oldest, newest, example in database.read(
        lambda connection: connection.execute(counted).all()
    ):
        one = LetterGroup(
            fingerprint=rule.fingerprint(fault, status, code, message),
            lane=lane,
            fault=fault,
            status=status,
            code=code,
            message=rule.pattern(message or ""),
            letters=count,
            oldest=oldest,
            newest=newest,
            example=example,
        )
        if one.fingerprint.startswith(wanted.fingerprint or ""):
            key = one.fingerprint, one.lane
            found[key] = _together(found[key], one) if key in found else one
    return sorted(found.values(), key=lambda group: (-group.letters, group.fingerprint, group.lane))


def causes(told: Story) -> list[Cause]:
    """Why the job is where it is: its attempts in the order of time, each with its fault and the calls it made."""
    chain: list[Cause] = []
    left = list(told.calls)
    for event in told.events:
        if event.kind in _ENDS_ATTEMPT or "fault" in event.detail:
            # By time too: a job that was handed back runs again in the same generation.
            own = [call for call in left if call.generation == event.generation and call.sent_at <= event.at]
            left = [call for call in left if call not in own]
            chain.append(
                Cause(event.at, event.kind, event.generation, event.attempt, fault=_fault_of(event), calls=tuple(own))
            )
    return chain


_ENDS_ATTEMPT = frozenset({"done", "worker_lost", "handed_back", "cancelled"})
"""Beside the events that come with a fault."""
_ended_at = func.coalesce(jobs.c.finished_at, jobs.c.started_at, jobs.c.created_at)
_maybe_paid = (
    select(func.coalesce(func.sum(calls.c.estimate_nanousd), 0))
    .where(calls.c.job_id == jobs.c.id, calls.c.state == CallState.UNKNOWN.value)
    .scalar_subquery()
)
_OF_JOB = ("id", "key", "generation", "submission_id", "name", "document_hash", "values", "lane", "priority", "model")


def _states(connection: Connection, job_ids: Sequence[str]) -> dict[str, str]:
    rows = connection.execute(select(jobs.c.id, jobs.c.state).where(jobs.c.id.in_(job_ids)))
    return {row.id: row.state for row in rows}


def _letters(
    connection: Connection, wanted: LetterFilter, after: str, recipes: Recipes
) -> tuple[str | None, list[Letter]]:
    """A chunk, and where the next one begins: None after the last."""
    chunk = (
        select(
            jobs,
            documents.c.characters,
            documents.c.pages,
            _ended_at.label("ended_at"),
            _maybe_paid.label("unknown_estimate_nanousd"),
        )
        .join(documents, documents.c.hash == jobs.c.document_hash)
        .where(jobs.c.id > after, *_conditions(wanted))
        .order_by(jobs.c.id)
        .limit(CHUNK)
    )
    rows = connection.execute(chunk).mappings().all()
    found = [_letter(row, recipes.get(connection, row["recipe_hash"])) for row in rows]
    return rows[-1]["id"] if len(rows) == CHUNK else None, [
        letter for letter in found if letter.fingerprint.startswith(wanted.fingerprint or "")
    ]


def _conditions(wanted: LetterFilter) -> Sequence[ColumnElement[bool]]:
    met = [jobs.c.state == wanted.state.value]
    if wanted.job_ids:
        met.append(jobs.c.id.in_(wanted.job_ids))
    if wanted.fault is not None:
        met.append(jobs.c.fault == wanted.fault)
    if wanted.status is not None:
        met.append(jobs.c.fault_status == wanted.status)
    if wanted.submission_id is not None:
        met.append(jobs.c.id.in_(select(items.c.job_id).where(items.c.submission_id == wanted.submission_id)))
    if wanted.recipe is not None:
        met.append(jobs.c.recipe == wanted.recipe)
    if wanted.complexity is not None:
        met.append(jobs.c.complexity == wanted.complexity.value)
    if wanted.since is not None:
        met.append(_ended_at >= wanted.since)
    if wanted.until is not None:
        met.append(_ended_at < wanted.until)
    if wanted.message is not None:
        met.append(jobs.c.fault_message.icontains(wanted.message, autoescape=True))
    return met


def _letter(row: Mapping[Any, Any], recipe: Recipe) -> Letter:
    fault = None
    if row["fault"] is not None:
        fault = FaultLine(
            row["fault"], row["fault_message"], row["fault_status"], row["fault_code"], row["fault_request_id"]
        )
    return Letter(
        **{name: row[name] for name in _OF_JOB},
        recipe=recipe,
        complexity=Complexity(row["complexity"]),
        fault=fault,
        fingerprint=rule.fingerprint(row["fault"], row["fault_status"], row["fault_code"], row["fault_message"]),
        ended_at=row["ended_at"],
        characters=row["characters"],
        pages=row["pages"],
        unknown_estimate_nanousd=int(row["unknown_estimate_nanousd"]),
    )


def _together(one: LetterGroup, other: LetterGroup) -> LetterGroup:
    return replace(
        one,
        letters=one.letters + other.letters,
        oldest=min(one.oldest, other.oldest),
        newest=max(one.newest, other.newest),
        example=max(one.example, other.example),
    )


def _fault_of(event: EventLine) -> FaultLine | None:
    told = event.detail
    if not told.get("fault"):
        return None
    return FaultLine(
        told["fault"],
        told.get("fault_message") or "",
        told.get("fault_status"),
        told.get("fault_code"),
        told.get("fault_request_id"),
    )
