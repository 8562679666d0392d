"""What a person decides about the jobs that wait for one: replay, replay changed, discard; and letters that expire.

The guard of each UPDATE is the letter's state and generation, so that of two people who decide at once, one does. A
chunk's token is in each row it moved, by which a transaction that is run twice knows its own work.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, Select, and_, func, select, update

from tasks.model.job import JobState, Step
from tasks.rules.replaying import Asked
from workers.ledger import steps
from workers.ledger.database import Database
from workers.ledger.ids import new_id
from workers.ledger.letters import Letter, LetterFilter, read_letters
from workers.ledger.line import Place, Turns
from workers.ledger.many import Given, Many, Statement
from workers.ledger.moving import event_row, tell
from workers.ledger.steps import FLAG, ID, MOMENT, NUMBER
from workers.ledger.submitting import NO_TURNS, job_key, keep_recipes
from workers.ledger.tables import BigInt, Json, items, jobs

TOKEN = "replay"  # noqa: S105 - what the token of a replayed job begins with, until a worker's claim replaces it
EMPTY: Mapping[str, str] = {}
USABLE = frozenset({JobState.QUEUED, JobState.RUNNING, JobState.WAITING, JobState.PARKED, JobState.DONE})
"""A job in one of these is or will be an answer; to link a letter to any other would leave it unanswered."""


@dataclass(frozen=True, slots=True)
class Again:
    """A wish to run a letter's job as it is, in its turn, or where `not_before` is given from that moment on."""

    letter: Letter
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Anew:
    """A wish to ask something else of a letter's document."""

    letter: Letter
    asked: Asked
    lane: str
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of a letter. The job that answers for it waits in its lane's line, unless it was known."""

    letter_id: str
    job_id: str
    """The same, or the job that answers in its place."""
    generation: int
    lane: str
    state: JobState
    created: bool
    """Whether the job was made for this letter."""
    priority: int
    turn: int

    @property
    def place(self) -> Place:
        """Where it waits for its turn."""
        return self.lane, self.priority


def replay_letters(
    database: Database, state: JobState, wishes: Sequence[Again], *, last_turns: Mapping[Place, int] = NO_TURNS
) -> list[Replayed]:
    """Queue a chunk of jobs again: history is kept. Those that somebody else moved are left out.

    `last_turns` are those of the replay's chunks before: see `workers.ledger.line`.
    """
    token, at = new_id(TOKEN), database.now()
    return database.write(partial(_replay, state=state, wishes=wishes, token=token, at=at, last_turns=last_turns))


def replace_letters(
    database: Database, state: JobState, wishes: Sequence[Anew], *, last_turns: Mapping[Place, int] = NO_TURNS
) -> list[Replayed]:
    """Put a changed job in the place of each of a chunk's: the old one is discarded, and the two link to each other.

    Submissions that point to the old job point to the new one then. A wish that has a job already gets that one, unless
    it was given up itself. Those that somebody else moved are left out.
    """
    token, at = new_id(TOKEN), database.now()
    fresh = [new_id("job") for _ in wishes]
    return database.write(
        partial(_replace, state=state, wishes=wishes, fresh=fresh, token=token, at=at, last_turns=last_turns)
    )


def discard_letters(database: Database, wanted: LetterFilter) -> int:
    """Give letters up for good: they are cancelled, and keep their document, calls and history. Says how many."""
    return sum(_discard(database, wanted.state, chunk, "discarded") for chunk in read_letters(database, wanted))


def expire_letters(database: Database, older_than: timedelta) -> int:
    """Discard the dead letters that are older. An uncertain job never expires: it may have been paid for."""
    wanted = LetterFilter(until=database.now() - older_than)
    return sum(_discard(database, wanted.state, chunk, "letter_expired") for chunk in read_letters(database, wanted))


def _replay(
    connection: Connection,
    *,
    state: JobState,
    wishes: Sequence[Again],
    token: str,
    at: datetime,
    last_turns: Mapping[Place, int],
) -> list[Replayed]:
    turns = Turns(connection, [(wish.letter.lane, wish.letter.priority) for wish in wishes], at, last_turns)
    rows = [
        {
            **_guard(wish.letter),
            "token": token,
            "not_before": wish.not_before,
            "turn": turns.take(wish.letter.lane, wish.letter.priority),
        }
        for wish in _in_order(wishes)
    ]
    moved = _REPLAY[state].run(connection, rows)
    tell(connection, [event_row(row[0], at, "replayed", *row[1:]) for row in moved])
    ids = [wish.letter.id for wish in wishes]
    ours = select(jobs.c.id, jobs.c.id, *_OF_REPLAYED).where(jobs.c.id.in_(ids), jobs.c.token == token)
    return _replayed(connection, ours)


def _replace(
    connection: Connection,
    *,
    state: JobState,
    wishes: Sequence[Anew],
    fresh: Sequence[str],
    token: str,
    at: datetime,
    last_turns: Mapping[Place, int],
) -> list[Replayed]:
    ids = dict(zip((wish.letter.id for wish in wishes), fresh, strict=True))
    moved = {
        row[0]: row
        for row in _REPLACE[state].run(
            connection,
            [{**_guard(wish.letter), "token": token, "as": ids[wish.letter.id]} for wish in _in_order(wishes)],
        )
    }
    ours = [wish for wish in wishes if wish.letter.id in moved]
    hashes = keep_recipes(connection, [wish.asked.recipe for wish in ours], at)
    keys = _keys(connection, ours)
    wanted = sorted(ours, key=lambda wish: keys[wish.letter.id])
    turns = Turns(connection, [(wish.lane, wish.letter.priority) for wish in wanted], at, last_turns)
    made = {
        job_id
        for (job_id,) in _KEEP_JOB.run(
            connection,
            [
                _job(wish, ids[wish.letter.id], keys[wish.letter.id], hashes[id(wish.asked.recipe)], turns, token, at)
                for wish in wanted
            ],
        )
    }
    by_key = _jobs_by_key(connection, keys.values())
    links: list[dict[str, Any]] = [
        {"old": old, "new": by_key[key][0], "made": ids[old] in made}
        for old, key in sorted(keys.items(), key=lambda pair: pair[1])
    ]
    _LINK.run(connection, [link for link in links if not link["made"]])
    _REPOINT.run(connection, links)
    gone = [event_row(link["old"], at, "replayed_as", *moved[link["old"]][1:], job=link["new"]) for link in links]
    begun = [event_row(link["new"], at, "created", 0, 0, replay_of=link["old"]) for link in links if link["made"]]
    tell(connection, gone + begun)
    old = jobs.alias("old")
    query = (
        select(old.c.id, jobs.c.id, *_OF_REPLAYED)
        .join(jobs, jobs.c.id == old.c.replayed_as)
        .where(old.c.id.in_(list(ids)), old.c.token == token)
    )
    return _replayed(connection, query, ids)


def _keys(connection: Connection, wishes: Iterable[Anew]) -> dict[str, str]:
    """Each new job's idempotency key by the letter's id.

    A letter that was submitted with `again` has a key of its own, and so has its replay; so has one whose wish has been
    given up in another job.
    """
    plain, own = {}, {}
    for wish in wishes:
        letter = wish.letter
        before = Asked(letter.recipe, letter.values, letter.complexity, letter.model)
        own[letter.id] = _key(letter, wish.asked, salt=letter.id)
        plain[letter.id] = _key(letter, wish.asked) if letter.key == _key(letter, before) else own[letter.id]
    there = _jobs_by_key(connection, plain.values())
    return {
        letter_id: own[letter_id] if key in there and there[key][1] not in USABLE else key
        for letter_id, key in plain.items()
    }


def _key(letter: Letter, asked: Asked, salt: str = "") -> str:
    return job_key(
        letter.document_hash,
        asked.recipe.hash,
        values=asked.values,
        complexity=asked.complexity,
        model=asked.model,
        salt=salt,
    )


def _jobs_by_key(connection: Connection, keys: Iterable[str]) -> dict[str, tuple[str, JobState]]:
    found = _FIND_BY_KEY.run(connection, [{"key": key} for key in sorted(set(keys))])
    return {key: (job_id, JobState(state)) for key, job_id, state in found}


def _job(wish: Anew, job_id: str, key: str, recipe_hash: str, turns: Turns, token: str, at: datetime) -> dict[str, Any]:
    letter, asked = wish.letter, wish.asked
    return {
        "id": job_id,
        "key": key,
        "submission_id": letter.submission_id,
        "name": letter.name,
        "document_hash": letter.document_hash,
        "recipe_hash": recipe_hash,
        "recipe": asked.recipe.name,
        "values": dict(asked.values),
        "complexity": asked.complexity.value,
        "lane": wish.lane,
        "priority": letter.priority,
        "turn": turns.take(wish.lane, letter.priority),
        "model": asked.model,
        "state": JobState.QUEUED.value,
        "generation": 0,
        "attempt": 0,
        "throttles": 0,
        "token": token,
        "not_before": wish.not_before,
        "replay_of": letter.id,
        "created_at": at,
    }


def _discard(database: Database, state: JobState, chunk: Sequence[Letter], kind: str) -> int:
    token, at = new_id("discard"), database.now()

    def work(connection: Connection) -> int:
        rows = [{**_guard(letter), "token": token} for letter in chunk]
        moved = _DISCARD[state].run(connection, rows)
        tell(connection, [event_row(row[0], at, kind, *row[1:]) for row in moved])
        ours = select(func.count()).where(jobs.c.id.in_([letter.id for letter in chunk]), jobs.c.token == token)
        return connection.execute(ours).scalar_one()

    return database.write(work)


def _guard(letter: Letter) -> dict[str, Any]:
    return {"id": letter.id, "generation": letter.generation}


def _in_order(wishes: Sequence[Again] | Sequence[Anew]) -> list[Any]:
    """By id: two people with the same letters wait for each other's rows, never in a ring."""
    return sorted(wishes, key=lambda wish: wish.letter.id)


def _replayed(connection: Connection, query: Select[Any], fresh: Mapping[str, str] = EMPTY) -> list[Replayed]:
    """What the query finds; `fresh` are the ids made for new jobs, by the letter's."""
    return [
        Replayed(
            letter_id=letter_id,
            job_id=job_id,
            generation=generation,
            lane=lane,
            state=JobState(state),
            created=fresh.get(letter_id) == job_id,
            priority=priority,
            turn=turn,
        )
        for letter_id, job_id, generation, lane, state, priority, turn in connection.execute(query).all()
    ]


_OF_REPLAYED = (jobs.c.generation, jobs.c.lane, jobs.c.state, jobs.c.priority, jobs.c.turn)


def _of(state: JobState, step: Step, given: Given) -> Any:  # noqa: ANN401 - an Update, which `values` widens
    return steps.move(step, given).where(jobs.c.state == steps.word(state), jobs.c.generation == given["generation"])


def _again(state: JobState, given: Given) -> Statement:
    statement: Statement = (
        _of(state, Step.REPLAY, given)
        .values(
            generation=jobs.c.generation + 1,
            attempt=0,
            throttles=0,
            crashes=0,
            faults=None,
            tried_since=None,
            token=given["token"],
            owner=None,
            message_id=None,
            published_at=None,
            started_at=None,
            finished_at=None,
            not_before=given["not_before"],
            turn=given["turn"],
        )
        .returning(jobs.c.id, jobs.c.attempt, jobs.c.generation)
    )
    return statement


def _give_up(state: JobState, given: Given) -> Statement:
    statement: Statement = (
        _of(state, Step.DISCARD, given)
        .values(token=given["token"], owner=None)
        .returning(jobs.c.id, jobs.c.attempt, jobs.c.generation)
    )
    return statement


def _give_way(state: JobState, given: Given) -> Statement:
    statement: Statement = (
        _of(state, Step.DISCARD, given)
        .values(token=given["token"], owner=None, replayed_as=given["as"])
        .returning(jobs.c.id, jobs.c.attempt, jobs.c.generation)
    )
    return statement


def _repoint(given: Given) -> Statement:
    return (
        update(items)
        .where(items.c.job_id == given["old"])
        .values(job_id=given["new"], created=and_(items.c.created, given["made"]))
    )


_STATES = (JobState.DEAD, JobState.UNCERTAIN)
_GUARD: steps.Types = {"id": ID, "generation": NUMBER, "token": ID}
_REPLAY = {state: Many(partial(_again, state), {**_GUARD, "not_before": MOMENT, "turn": BigInt}) for state in _STATES}
_REPLACE = {state: Many(partial(_give_way, state), {**_GUARD, "as": ID}) for state in _STATES}
_DISCARD = {state: Many(partial(_give_up, state), _GUARD) for state in _STATES}
_FIND_BY_KEY = Many(
    lambda given: select(jobs.c.key, jobs.c.id, jobs.c.state).where(jobs.c.key == given["key"]), {"key": ID}
)
_KEEP_JOB = Many(
    lambda given: given.insert_into(jobs).returning(jobs.c.id),
    {
        **dict.fromkeys(("id", "key", "submission_id", "name", "document_hash", "recipe_hash", "recipe"), ID),
        "values": Json,
        **dict.fromkeys(("complexity", "lane", "model", "state"), ID),
        **dict.fromkeys(("generation", "attempt", "throttles", "priority"), NUMBER),
        "turn": BigInt,
        "token": ID,
        "not_before": MOMENT,
        "replay_of": ID,
        "created_at": MOMENT,
    },
)
_LINK = Many(
    lambda given: update(jobs).where(jobs.c.id == given["old"]).values(replayed_as=given["new"]),
    {"old": ID, "new": ID, "made": FLAG},
)
_REPOINT = Many(_repoint, {"old": ID, "new": ID, "made": FLAG})
