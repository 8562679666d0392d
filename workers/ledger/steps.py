"""The guarded UPDATE behind every step of a job. Its states come from `tasks.model.job`, so the two cannot drift."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, Update, delete, func, literal, select, update
from sqlalchemy.types import Boolean, Integer, TypeEngine

from tasks.model.call import CallState
from tasks.model.job import JobState, Step, advance, sources
from workers.ledger.many import Given, Many, Statement
from workers.ledger.tables import BigInt, Json, Utc, calls, documents, job_events, jobs, prompts, recipes

Types = dict[str, TypeEngine[Any]]
Build = Callable[[Given], Statement]
ID, MOMENT, NUMBER, FLAG = Text(), Utc(), Integer(), Boolean()


def target(step: Step) -> JobState:
    """The one state that `step` leads to, wherever it is taken from."""
    (state,) = {advance(source, step) for source in sources(step)}
    return state


def word(state: JobState | CallState) -> ColumnElement[str]:
    """A state written into the statement.

    As a parameter, SQLite would plan the statement anew for every row: a partial index makes the plan depend on it.
    """
    return literal(state.value, literal_execute=True)


def move(step: Step, given: Given) -> Update:
    """The UPDATE of the given job's row by `step`, guarded by the states that have this way out."""
    states = [word(state) for state in sources(step)]
    return update(jobs).where(jobs.c.id == given["id"], jobs.c.state.in_(states)).values(state=word(target(step)))


def _claim(given: Given) -> Statement:
    return (
        move(Step.CLAIM, given)
        .where(
            jobs.c.generation == given["generation"],
            jobs.c.not_before.is_(None) | (jobs.c.not_before <= given["due"]),
        )
        .values(
            token=given["token"],
            owner=given["owner"],
            message_id=func.coalesce(given["message_id"], jobs.c.message_id),
            started_at=given["at"],
            tried_since=func.coalesce(jobs.c.tried_since, given["at"]),
        )
        .returning(jobs.c.token, jobs.c.attempt)
    )


def _hand_back_lost(given: Given) -> Statement:
    return (
        move(Step.HAND_BACK, given)
        .where(jobs.c.token == given["token"])
        .values(
            token=None,
            owner=None,
            lane=given["lane"],
            crashes=jobs.c.crashes + 1,
            published_at=None,
            not_before=None,
            tried_since=None,  # nobody can tell how long its worker has been dead
        )
        .returning(jobs.c.id)
    )


def _end_lost(step: Step) -> Build:
    """The UPDATE that ends a job whose worker died, by burying it or leaving it to a person."""
    return lambda given: (
        move(step, given)
        .where(jobs.c.token == given["token"])
        .values(finished_at=given["at"], crashes=jobs.c.crashes + 1, **_fault(given))
        .returning(jobs.c.id)
    )


def _expire(given: Given) -> Statement:
    return (
        move(Step.EXPIRE, given)
        .where(jobs.c.generation == given["generation"])
        .values(finished_at=given["at"], **_fault(given))
        .returning(jobs.c.id)
    )


def _publish(given: Given) -> Statement:
    """Note when a waiting job's message was sent once more: not so soon again.

    Not its id: the job may run by the one before, and a claim notes by which.
    """
    return (
        update(jobs)
        .where(jobs.c.id == given["id"], jobs.c.generation == given["generation"])
        .values(published_at=given["at"])
    )


def _hand_back(given: Given) -> Statement:
    return (
        move(Step.HAND_BACK, given)
        .where(jobs.c.token == given["token"])
        .values(token=None, owner=None, published_at=given["at"], not_before=None, tried_since=None)
        .returning(jobs.c.id, jobs.c.attempt, jobs.c.generation)
    )


def _hold(given: Given) -> Statement:
    """Leave a job to a person whose worker stops; nobody has died."""
    return (
        move(Step.LOSE, given)
        .where(jobs.c.token == given["token"])
        .values(finished_at=given["at"], **_fault(given))
        .returning(jobs.c.id, jobs.c.attempt, jobs.c.generation)
    )


def _settle(given: Given) -> Statement:
    # Not the token: the first right answer wins, also when it comes late and the job has gone on to another try. A job
    # asks the same in all its generations: what is replayed changed is another job.
    return (
        move(Step.SETTLE, given)
        .where(jobs.c.generation >= given["generation"])
        .values(token=given["token"], finished_at=given["at"], output=given["output"], **NO_FAULT)
        .returning(jobs.c.token)
    )


def _delay(given: Given) -> Statement:
    return (
        move(Step.DELAY, given)
        .where(jobs.c.token == given["token"])
        .values(
            generation=jobs.c.generation + 1,
            attempt=given["attempt"],
            throttles=given["throttles"],
            faults=given["faults"],
            not_before=given["not_before"],
            published_at=None,
            tried_since=given["tried_since"],
            **_fault(given),
        )
        .returning(jobs.c.token)
    )


def _park(given: Given) -> Statement:
    # Published as good as now: its message goes to its lane right after, and waits there. The deadline does not run.
    return (
        move(Step.PARK, given)
        .where(jobs.c.token == given["token"])
        .values(
            generation=jobs.c.generation + 1,
            throttles=given["throttles"],
            faults=given["faults"],
            published_at=given["at"],
            not_before=None,
            tried_since=None,
            **_fault(given),
        )
        .returning(jobs.c.token)
    )


def _bury(given: Given) -> Statement:
    return (
        move(Step.BURY, given)
        .where(jobs.c.token == given["token"])
        .values(finished_at=given["at"], **_fault(given))
        .returning(jobs.c.token)
    )


def _cancel(given: Given) -> Statement:
    return (
        move(Step.CANCEL, given)
        .values(token=None, owner=None, finished_at=given["at"])
        .returning(jobs.c.id, jobs.c.message_id, jobs.c.attempt, jobs.c.generation)
    )


def _route(given: Given) -> Statement:
    # The token: a worker that was given up by mistake may hold an earlier claim of the same message, and a later one.
    return (
        update(jobs)
        .where(
            jobs.c.id == given["id"],
            jobs.c.token == given["token"],
            jobs.c.state == word(target(Step.CLAIM)),
        )
        .values(route_model=given["model"], route_reason=given["reason"])
        .returning(jobs.c.token)
    )


def _end_call(given: Given) -> Statement:
    ends = {name: given[name] for name in CALL_END_TYPES if name != "id"}
    return update(calls).where(calls.c.id == given["id"], calls.c.state.in_(OPEN_CALL_STATES)).values(**ends)


def _lose_calls(given: Given) -> Statement:
    return (
        update(calls)
        .where(calls.c.job_id == given["id"], calls.c.state == word(CallState.SENT))
        .values(state=word(CallState.UNKNOWN), fault="WorkerLost", finished_at=given["at"])
    )


def _lock_lost(given: Given) -> Statement:
    return select(jobs.c.id).where(jobs.c.id == given["id"], jobs.c.token == given["token"]).with_for_update(of=jobs)


def _sent_for(given: Given) -> Statement:
    return select(calls.c.job_id).where(
        calls.c.job_id == given["id"],
        calls.c.generation == given["generation"],
        calls.c.state == word(CallState.SENT),
    )


def _job(given: Given) -> Select[Any]:
    return (
        select(
            *(jobs.c[name] for name in OF_JOB),
            # Its message may come before the note that it was published: then it waited for no time at all.
            func.coalesce(jobs.c.not_before, jobs.c.published_at, jobs.c.started_at),
            jobs.c.started_at,
            *(documents.c[name] for name in DOCUMENT),
        )
        .join(documents, documents.c.hash == jobs.c.document_hash)
        .where(jobs.c.id == given["id"])
    )


def _claimed(given: Given) -> Statement:
    return _job(given).where(jobs.c.token == given["token"], jobs.c.state == word(target(Step.CLAIM)))


def _moved_before(given: Given) -> Statement:
    return select(jobs.c.token).where(
        jobs.c.id == given["id"], jobs.c.token == given["token"], jobs.c.state == given["state"]
    )


def _fault(given: Given) -> dict[str, ColumnElement[Any]]:
    return {name: given[name] for name in FAULT_TYPES}


OPEN_CALL_STATES = (word(CallState.SENT), word(CallState.UNKNOWN))
"""What is known better replaces `unknown`."""
NO_FAULT = dict.fromkeys(("fault", "fault_message", "fault_status", "fault_code", "fault_request_id"))
FAULT_TYPES: Types = {
    "fault": ID,
    "fault_message": ID,
    "fault_status": NUMBER,
    "fault_code": ID,
    "fault_request_id": ID,
}
CLAIM_TYPES: Types = {
    "id": ID,
    "generation": NUMBER,
    "token": ID,
    "owner": ID,
    "message_id": ID,
    "at": MOMENT,
    "due": MOMENT,
}
CALL_TYPES: Types = {
    "id": ID,
    "job_id": ID,
    "attempt": NUMBER,
    "generation": NUMBER,
    "model": ID,
    "max_tokens": NUMBER,
    "shell_hash": ID,
    "document_hash": ID,
    "queued_ms": BigInt,
    "estimate_nanousd": BigInt,
    "held_nanousd": BigInt,
    "characters": BigInt,
    "day": ID,
    "state": ID,
    "synthetic": FLAG,
    "sent_at": MOMENT,
}
USAGE = ("input", "cache_write_5m", "cache_write_1h", "cache_read", "output", "thinking")
"""Fields of `Usage`; the column has `_tokens` behind."""
CALL_END_TYPES: Types = {
    "id": ID,
    "state": ID,
    **{f"{kind}_tokens": BigInt for kind in USAGE},
    "cost_nanousd": BigInt,
    "price_source": ID,
    "price_version": ID,
    "price_hash": ID,
    "multipliers": Json,
    "request_id": ID,
    "status": NUMBER,
    "stop_reason": ID,
    "fault": ID,
    "first_byte_ms": BigInt,
    "total_ms": BigInt,
    "synthetic": FLAG,
    "text": ID,
    "finished_at": MOMENT,
}
OF_JOB = (
    *("id", "token", "generation", "attempt", "throttles", "faults"),
    *("complexity", "model", "recipe_hash", "values", "name", "tried_since"),
)
CLAIMED = (*OF_JOB, "free_since", "started_at")
DOCUMENT = ("hash", "media_type", "content", "text", "pages")

CLAIM = Many(_claim, CLAIM_TYPES)
LOCK_LOST = Many(_lock_lost, {"id": ID, "token": ID})
FIND_SENT = Many(_sent_for, {"id": ID, "generation": NUMBER})
HAND_BACK_LOST = Many(_hand_back_lost, {"id": ID, "token": ID, "lane": ID})
LOSE = Many(_end_lost(Step.LOSE), {"id": ID, "token": ID, "at": MOMENT, **FAULT_TYPES})
BURY_LOST = Many(_end_lost(Step.BURY), {"id": ID, "token": ID, "at": MOMENT, **FAULT_TYPES})
EXPIRE = Many(_expire, {"id": ID, "generation": NUMBER, "at": MOMENT, **FAULT_TYPES})
PUBLISHED = Many(_publish, {"id": ID, "generation": NUMBER, "at": MOMENT})
HAND_BACK = Many(_hand_back, {"id": ID, "token": ID, "at": MOMENT})
HOLD = Many(_hold, {"id": ID, "token": ID, "at": MOMENT, **FAULT_TYPES})
SETTLE = Many(_settle, {"id": ID, "generation": NUMBER, "token": ID, "output": ID, "at": MOMENT})
DELAY = Many(
    _delay,
    {
        "id": ID,
        "token": ID,
        "attempt": NUMBER,
        "throttles": NUMBER,
        "faults": Json,
        "not_before": MOMENT,
        "tried_since": MOMENT,
        **FAULT_TYPES,
    },
)
PARK = Many(_park, {"id": ID, "token": ID, "throttles": NUMBER, "faults": Json, "at": MOMENT, **FAULT_TYPES})
BURY = Many(_bury, {"id": ID, "token": ID, "at": MOMENT, **FAULT_TYPES})
CANCEL = Many(_cancel, {"id": ID, "at": MOMENT})
ROUTE = Many(_route, {"id": ID, "token": ID, "model": ID, "reason": ID})
OPEN_CALL = Many(lambda given: given.insert_into(calls), CALL_TYPES)
END_CALL = Many(_end_call, CALL_END_TYPES)
LOSE_CALLS = Many(_lose_calls, {"id": ID, "at": MOMENT})
KEEP_SHELL = Many(lambda given: given.insert_into(prompts), {"shell_hash": ID, "shell": ID, "created_at": MOMENT})
TELL = Many(
    lambda given: given.insert_into(job_events),
    {"job_id": ID, "at": MOMENT, "kind": ID, "attempt": NUMBER, "generation": NUMBER, "detail": Json},
)
UNTELL_CLAIM = Many(
    lambda given: delete(job_events).where(
        job_events.c.job_id == given["id"],
        job_events.c.generation == given["generation"],
        job_events.c.kind == literal("claimed", literal_execute=True),
    ),
    {"id": ID, "generation": NUMBER},
)
FIND_JOB = Many(_job, {"id": ID})
FIND_OPEN_CALL = Many(
    lambda given: select(calls.c.id, calls.c.sent_at).where(
        calls.c.id == given["id"], calls.c.state.in_(OPEN_CALL_STATES)
    ),
    {"id": ID},
)
FIND_CLAIMED = Many(_claimed, {"id": ID, "token": ID})
FIND_MOVED = Many(_moved_before, {"id": ID, "token": ID, "state": ID})
FIND_RECIPE = Many(lambda given: select(recipes.c.definition).where(recipes.c.hash == given["hash"]), {"hash": ID})
