"""A worker's writes, many jobs in one transaction: claim, sending, settle, hand back, and the sign of life.

Every function may be run twice with the same values, as happens when the answer to a commit is lost: what it did the
first time it finds again by the claim's token, or by the id of the call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete

from config.catalogue import Complexity
from config.recipe import Recipe
from tasks.model.call import Call, CallState, Route
from tasks.model.fault import Fault, OverBudget, Throttled, WorkerLost
from tasks.model.job import Document, Job, Step
from tasks.model.verdict import Bury, Done, Park, RetryIn, Verdict
from tasks.rules.judging import Fate
from workers.ledger import steps
from workers.ledger.inserting import insert_into
from workers.ledger.tables import storable, workers
from workers.ledger.tally import Tally

CLOCK_SLACK = timedelta(seconds=1)
"""A retry may come so much before its time by the ledger's clock: the broker waits by another one."""
FORGET_WORKERS_AFTER = timedelta(days=1)
"""A worker that has no row counts as lost, so old rows tell nothing."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A worker process."""

    id: str
    host: str
    pid: int
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Claim:
    """A wish to run a job. `token` is new for each."""

    job_id: str
    generation: int
    token: str
    message_id: str | None = None
    """Of the message that says so; None where there is none."""


@dataclass(frozen=True, slots=True)
class Sending:
    """A request about to go out, for the claim with this token."""

    token: str
    call: Call
    route: Route
    shell: str


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of an attempt."""

    job: Job
    call: Call | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Return:
    """A job that goes back to its lane unanswered, or with the fate `UNCERTAIN` is left to a person."""

    job_id: str
    token: str
    call: Call | None
    fate: Fate = Fate.AGAIN


def claim(connection: Connection, claims: Sequence[Claim], *, owner: str, at: datetime) -> None:
    """Take the jobs that are free, due and of the message's generation; `claimed` then finds the ones we got.

    A running job is not free, even where its owner is dead: `workers.ledger.upkeep` judges what becomes of it, and has
    a message of its own sent.
    """
    rows: list[dict[str, Any]] = [
        {
            "id": each.job_id,
            "generation": each.generation,
            "token": each.token,
            "owner": owner,
            "message_id": each.message_id,
            "at": at,
            "due": at + CLOCK_SLACK,
        }
        for each in claims
    ]
    won: dict[str, int] = dict(steps.CLAIM.run(connection, rows))
    tell(
        connection,
        [
            event_row(row["id"], at, "claimed", won[row["token"]], row["generation"], owner=owner)
            for row in rows
            if row["token"] in won
        ],
    )


class Recipes:
    """Recipes by hash, parsed once. A hash says everything about a recipe, so none grows old."""

    def __init__(self) -> None:
        self._known: dict[str, Recipe] = {}

    def get(self, connection: Connection, recipe_hash: str) -> Recipe:
        """The recipe a job was submitted with. Raises pydantic's error for one that newer code wrote."""
        if recipe_hash not in self._known:
            ((definition,),) = steps.FIND_RECIPE.run(connection, [{"hash": recipe_hash}])
            self._known[recipe_hash] = Recipe.model_validate(definition)
        return self._known[recipe_hash]


def claimed(connection: Connection, claims: Sequence[Claim], recipes: Recipes) -> dict[str, Job]:
    """The jobs that are ours by these claims, by token, with their documents."""
    rows = steps.FIND_CLAIMED.run(connection, [{"id": each.job_id, "token": each.token} for each in claims])
    found = [job_of(row, recipes, connection) for row in rows]
    return {job.token: job for job in found}


def sending(
    connection: Connection, requests: Sequence[Sending], *, at: datetime, tally: Tally | None = None
) -> set[str]:
    """Write the intent of calls. Returns the ids of those that may be sent.

    Of the others, those that `tally` has refused are over a budget; the rest's jobs are not ours any more.
    """
    routes = [
        {
            "id": each.call.job_id,
            "token": each.token,
            "model": each.route.model,
            "reason": storable(each.route.reason),
        }
        for each in requests
    ]
    ours = {token for (token,) in steps.ROUTE.run(connection, routes)}
    allowed = [each for each in requests if each.token in ours]
    if tally is not None:
        admitted = tally.admit(connection, [each.call for each in allowed])
        allowed = [each for each in allowed if each.call.id in admitted]
    shells = {each.call.shell_hash: each.shell for each in allowed}
    steps.KEEP_SHELL.run(
        connection,
        [{"shell_hash": key, "shell": storable(shells[key]), "created_at": at} for key in sorted(shells)],
    )
    steps.OPEN_CALL.run(connection, [_open_call(each.call, at) for each in allowed])
    return {each.call.id for each in allowed}


def settle(
    connection: Connection, settlements: Sequence[Settlement], *, at: datetime, tally: Tally | None = None
) -> set[str]:
    """Record the calls' ends and move the jobs. Returns the tokens of the jobs that were moved by these."""
    _end_calls(connection, [each.call for each in settlements], at, tally)
    moves = [_move_of(each.job, each.verdict, at) for each in settlements]
    moved: set[str] = set()
    before: set[str] = set()
    for step, statement in _SETTLING.items():
        rows = [move.row for move in moves if move.step is step]
        now = {token for (token,) in statement.run(connection, rows)}
        moved |= now
        state = steps.target(step).value
        left = [{"id": row["id"], "token": row["token"], "state": state} for row in rows if row["token"] not in now]
        before |= {token for (token,) in steps.FIND_MOVED.run(connection, left)}
    made = {move.row["token"]: move for move in moves if move.row["token"] in moved}.values()
    tell(connection, [move.event for move in made if not move.is_known])
    # A job looks again each minute whether there is money for it: its story need not say so each time.
    steps.UNTELL_CLAIM.run(
        connection, [{"id": move.row["id"], "generation": move.event["generation"]} for move in made if move.is_known]
    )
    return moved | before


class _Move(NamedTuple):
    """What a verdict does to its job."""

    step: Step
    row: dict[str, Any]
    event: dict[str, Any]
    is_known: bool = False
    """Whether its story says so already."""


_SETTLING = {
    Step.SETTLE: steps.SETTLE,
    Step.DELAY: steps.DELAY,
    Step.PARK: steps.PARK,
    Step.BURY: steps.BURY,
}


def _move_of(job: Job, verdict: Verdict, at: datetime) -> _Move:
    row: dict[str, Any] = {"id": job.id, "token": job.token, "at": at}
    place = job.attempt, job.generation
    match verdict:
        case Done(output):
            row |= {"generation": job.generation, "output": storable(output)}
            return _Move(Step.SETTLE, row, event_row(job.id, at, "done", *place))
        case RetryIn(seconds, fault, counts):
            said = fault_columns(fault)
            row |= {
                "attempt": job.attempt + counts,
                "throttles": job.throttles + (not counts and not fault.put_off),
                "tried_since": None if fault.put_off else job.tried_since,  # then the deadline does not run
                "faults": faults_with(fault, job),
                "not_before": at + timedelta(seconds=seconds),
            }
            event = event_row(job.id, at, "delayed", *place, seconds=seconds, counts=counts, **said)
            return _Move(Step.DELAY, row | said, event)
        case Park(seconds, fault):
            said = fault_columns(fault)
            row |= {"throttles": job.throttles + isinstance(fault, Throttled), "faults": faults_with(fault, job)}
            event = event_row(job.id, at, "parked", *place, seconds=seconds, **said)
            is_known = isinstance(fault, OverBudget) and fault.kind in job.faults
            return _Move(Step.PARK, row | said, event, is_known)
        case Bury(fault):
            said = fault_columns(fault)
            return _Move(Step.BURY, row | said, event_row(job.id, at, "buried", *place, **said))


def hand_back(connection: Connection, returns: Sequence[Return], *, at: datetime, tally: Tally | None = None) -> None:
    """Move the jobs that are still ours by their fates, and record what is known of their calls."""
    _end_calls(connection, [each.call for each in returns], at, tally)
    back: list[dict[str, Any]] = []
    held: list[dict[str, Any]] = []
    cut = fault_columns(WorkerLost("its worker stopped after the call was sent, and before its answer came"))
    for each in returns:
        row = {"id": each.job_id, "token": each.token, "at": at}
        if each.fate is Fate.UNCERTAIN:
            held.append({**row, **cut})
        else:
            back.append(row)
    for statement, rows, kind, detail in (
        (steps.HAND_BACK, back, "handed_back", {}),
        (steps.HOLD, held, "uncertain", cut),
    ):
        moved = statement.run(connection, rows)
        tell(connection, [event_row(job_id, at, kind, *place, **detail) for job_id, *place in moved])


def report(connection: Connection, owner: Owner, at: datetime) -> None:
    """Say that a worker process lives."""
    row = {"id": owner.id, "host": owner.host, "pid": owner.pid, "started_at": owner.started_at, "seen_at": at}
    alive = {"seen_at": at, "lost_at": None}
    connection.execute(
        insert_into(connection, workers).values(row).on_conflict_do_update(index_elements=["id"], set_=alive)
    )


def forget(connection: Connection, owner: Owner, at: datetime) -> None:
    """Take a worker that has handed everything back, and those long gone, out of the list."""
    old = workers.c.seen_at < at - FORGET_WORKERS_AFTER
    connection.execute(delete(workers).where((workers.c.id == owner.id) | old))


def job_of(row: tuple[Any, ...], recipes: Recipes, connection: Connection) -> Job:
    """A job from a row of `steps.CLAIMED` and `steps.DOCUMENT`."""
    job = dict(zip(steps.CLAIMED, row, strict=False))
    document = dict(zip(steps.DOCUMENT, row[len(steps.CLAIMED) :], strict=True))
    waited = timedelta()
    if job["started_at"] is not None:  # as it is not while a replayed job waits, whose answer is found in a spool
        waited = max(waited, job["started_at"] - job["free_since"])
    return Job(
        id=job["id"],
        token=job["token"],
        generation=job["generation"],
        attempt=job["attempt"],
        throttles=job["throttles"],
        faults=job["faults"] or {},
        complexity=Complexity(job["complexity"]),
        model=job["model"],
        recipe=recipes.get(connection, job["recipe_hash"]),
        values=job["values"],
        document=read_document(document, job["name"]),
        queued_ms=waited // timedelta(milliseconds=1),
        tried_since=job["tried_since"] and min(job["tried_since"] + waited, job["started_at"]),
    )


def read_document(row: dict[str, Any], name: str) -> Document:
    """A document from its row: a PDF without text of its own is sent as it is, anything else is its text."""
    text, pdf = row["text"], None
    if text is None:
        if row["media_type"] == "application/pdf":
            pdf = row["content"]
        else:
            text = row["content"].decode("utf-8", "replace")
    return Document(hash=row["hash"], name=name, text=text, pdf=pdf, pages=row["pages"])


def _open_call(call: Call, at: datetime) -> dict[str, Any]:
    return {
        "id": call.id,
        "job_id": call.job_id,
        "attempt": call.attempt,
        "generation": call.generation,
        "model": call.model,
        "max_tokens": call.max_tokens,
        "shell_hash": call.shell_hash,
        "document_hash": call.document_hash,
        "queued_ms": call.queued_ms,
        "estimate_nanousd": call.estimate_nanousd,
        "held_nanousd": call.held_nanousd,
        "characters": call.characters,
        "day": call.day,
        "state": CallState.SENT.value,
        "synthetic": call.synthetic,
        "sent_at": at,
    }


def _end_calls(connection: Connection, calls: Sequence[Call | None], at: datetime, tally: Tally | None) -> None:
    rows = [_end_call(call, at) for call in calls if call is not None]
    if tally is not None:
        tally.end(connection, rows)
    steps.END_CALL.run(connection, rows)


def _end_call(call: Call, at: datetime) -> dict[str, Any]:
    usage, price = call.usage, call.price
    return {
        "id": call.id,
        "state": call.state.value,
        **{f"{kind}_tokens": getattr(usage, kind) if usage else None for kind in steps.USAGE},
        "cost_nanousd": call.cost_nanousd,
        "price_source": price.source if price else None,
        "price_version": price.version if price else None,
        "price_hash": price.hash if price else None,
        "multipliers": dict(call.multipliers) if call.multipliers else None,
        "request_id": call.request_id,
        "status": call.status,
        "stop_reason": call.stop_reason,
        "fault": call.fault,
        "first_byte_ms": call.first_byte_ms,
        "total_ms": call.total_ms,
        "synthetic": call.synthetic,
        "text": None if call.text is None else storable(call.text),
        "finished_at": at,
    }


def faults_with(fault: Fault, job: Job) -> dict[str, int]:
    """The job's faults by kind, this one included."""
    return {**job.faults, fault.kind: job.faults.get(fault.kind, 0) + 1}


def fault_columns(fault: Fault) -> dict[str, Any]:
    """What a job or an event keeps of a fault."""
    return {
        "fault": fault.kind,
        "fault_message": storable(fault.message),
        "fault_status": fault.status,
        "fault_code": fault.code,
        "fault_request_id": fault.request_id,
    }


def event_row(job_id: str, at: datetime, kind: str, attempt: int, generation: int, **detail: object) -> dict[str, Any]:
    """One line of a job's story; `detail` is shown to people."""
    return {
        "job_id": job_id,
        "at": at,
        "kind": kind,
        "attempt": attempt,
        "generation": generation,
        "detail": detail or None,
    }


def tell(connection: Connection, events: Sequence[dict[str, Any]]) -> None:
    """Add to the stories of jobs."""
    steps.TELL.run(connection, events)
