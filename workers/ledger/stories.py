"""A job's story: the job as it stands, its calls with their prompts and answers, and what happened to it.

Lists of many jobs are in `workers.ledger.outcomes`, jobs that wait for a person in `workers.ledger.letters`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from config.prices import Price
from tasks.model.call import Call, CallState, Usage
from tasks.model.job import JobState
from tasks.model.priority import Priority
from tasks.rules.prompting import render
from workers.ledger.database import Database
from workers.ledger.ids import beginning
from workers.ledger.moving import read_document
from workers.ledger.prices import read_prices
from workers.ledger.steps import DOCUMENT, USAGE
from workers.ledger.tables import calls, documents, job_events, jobs, prompts


@dataclass(frozen=True, slots=True)
class FaultLine:
    """Why a job's last attempt failed. `kind` is the name of a `Fault`."""

    kind: str
    message: str
    status: int | None
    code: str | None
    request_id: str | None


@dataclass(frozen=True, slots=True)
class JobLine:
    """A job as it stands."""

    id: str
    submission_id: str
    name: str
    document_hash: str
    recipe: str
    recipe_hash: str
    values: Mapping[str, str]
    complexity: str
    lane: str
    priority: Priority
    model: str | None
    state: JobState
    generation: int
    attempt: int
    throttles: int
    owner: str | None
    created_at: datetime
    published_at: datetime | None
    not_before: datetime | None
    message_id: str | None
    started_at: datetime | None
    finished_at: datetime | None
    route_model: str | None
    route_reason: str | None
    output: str | None
    replay_of: str | None
    """The job that was given up, and whose document this one answers."""
    replayed_as: str | None
    """The job that answers in its place."""
    fault: FaultLine | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLine(Call):
    """A call as the ledger has it, with its moments by the ledger's clock.

    `price` is None also where the call ended before prices were kept: then there is only where it came from.
    """

    sent_at: datetime
    finished_at: datetime | None
    price_source: str | None
    price_version: str | None


@dataclass(frozen=True, slots=True)
class EventLine:
    """Something that happened to a job."""

    at: datetime
    kind: str
    attempt: int
    generation: int
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Story:
    """All there is about a job, each list in the order of time."""

    job: JobLine
    calls: tuple[CallLine, ...]
    events: tuple[EventLine, ...]


def jobs_beginning(database: Database, said: str, limit: int = 2) -> list[str]:
    """Ids of jobs that begin so, in order; `job-` may be left out."""
    return beginning(database, jobs.c.id, "job-", said, limit)


def story(database: Database, job_id: str) -> Story | None:
    """All there is about a job; None when there is none."""

    def read(connection: Connection) -> Story | None:
        job = connection.execute(select(jobs).where(jobs.c.id == job_id)).mappings().one_or_none()
        if job is None:
            return None
        told = select(job_events).where(job_events.c.job_id == job_id).order_by(job_events.c.at, job_events.c.id)
        sent = select(calls).where(calls.c.job_id == job_id).order_by(calls.c.sent_at, calls.c.id)
        known = read_prices(connection)
        return Story(
            job=_job_line(job),
            calls=tuple(call_line(row, known) for row in connection.execute(sent).mappings()),
            events=tuple(
                EventLine(row["at"], row["kind"], row["attempt"], row["generation"], row["detail"] or {})
                for row in connection.execute(told).mappings()
            ),
        )

    return database.read(read)


def prompt(database: Database, call_id: str) -> dict[str, Any] | None:
    """The prompt of a call as it was sent: system, messages and output_schema. None when there is no such call."""
    wanted = (
        select(prompts.c.shell, jobs.c.name, *(documents.c[name] for name in DOCUMENT))
        .select_from(calls)
        .join(prompts, prompts.c.shell_hash == calls.c.shell_hash)
        .join(jobs, jobs.c.id == calls.c.job_id)
        .join(documents, documents.c.hash == calls.c.document_hash)
        .where(calls.c.id == call_id)
    )
    row = database.read(lambda connection: connection.execute(wanted).mappings().one_or_none())
    if row is None:
        return None
    return render(row["shell"], read_document({name: row[name] for name in DOCUMENT}, row["name"]))


def fault_line(row: Mapping[Any, Any]) -> FaultLine | None:
    """The fault in a row of `jobs`."""
    if row["fault"] is None:
        return None
    return FaultLine(
        row["fault"], row["fault_message"], row["fault_status"], row["fault_code"], row["fault_request_id"]
    )


def _job_line(row: Mapping[Any, Any]) -> JobLine:
    fields = {name: row[name] for name in JobLine.__slots__ if name not in {"state", "fault", "priority"}}
    priority = Priority.of(row["priority"])
    return JobLine(**fields, priority=priority, state=JobState(row["state"]), fault=fault_line(row))


_OF_CALL = tuple(each.name for each in fields(CallLine) if each.name not in {"state", "usage", "price"})


def call_line(row: Mapping[Any, Any], known: Mapping[str, Price]) -> CallLine:
    """A row of `calls`; `known` are the ledger's prices by hash."""
    usage = None
    if row["input_tokens"] is not None:
        usage = Usage(**{kind: row[f"{kind}_tokens"] for kind in USAGE})
    told = {name: row[name] for name in _OF_CALL}
    return CallLine(**told, state=CallState(row["state"]), usage=usage, price=known.get(row["price_hash"]))
