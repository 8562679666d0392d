"""A submitter's writes: documents, recipes, jobs and items, a chunk in one transaction; then that they were published.

A document that was submitted before with the same wish gets no new job: the item points to the one there is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, update

from config.catalogue import Complexity
from config.recipe import Recipe
from tasks.model.job import JobState
from tasks.model.priority import Priority
from tasks.rules.prompting import length
from workers.ledger.database import Database
from workers.ledger.ids import new_id
from workers.ledger.inserting import insert_into
from workers.ledger.line import Place, Turns
from workers.ledger.many import Given, Many, Statement
from workers.ledger.steps import FLAG, ID, MOMENT, NUMBER, TELL
from workers.ledger.tables import BigInt, Json, documents, items, jobs, recipes, storable, submissions

NO_TURNS: Mapping[Place, int] = {}


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document as it was submitted."""

    hash: str
    """SHA-256 of `content`, in hex."""
    media_type: str
    content: bytes = field(repr=False)
    text: str | None = field(repr=False)
    """None where the content is the text as UTF-8, and for a PDF that is to be sent as it is."""
    pages: int | None = None


@dataclass(frozen=True, slots=True)
class NewItem:
    """One document with what is asked of it."""

    position: int
    """From 0, in the submission's order. One position is one item: adding it again changes nothing."""
    name: str
    key: str
    """See `job_key`."""
    document: NewDocument
    recipe: Recipe
    values: Mapping[str, str]
    complexity: Complexity
    lane: str
    """The queue of its complexity."""
    model: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    priority: Priority = Priority.NORMAL


@dataclass(frozen=True, slots=True)
class Added:
    """What became of an item. Those that are queued and not `published` wait in their lane's line."""

    position: int
    name: str
    job_id: str
    generation: int
    lane: str
    created: bool
    state: JobState
    published: bool
    priority: int = Priority.NORMAL.step
    turn: int = 0

    @property
    def place(self) -> Place:
        """Where it waits for its turn."""
        return self.lane, self.priority


@dataclass(frozen=True, slots=True)
class Published:
    """A job's message that the broker has. `message_id` is Celery's task id."""

    job_id: str
    generation: int
    message_id: str


def job_key(
    document_hash: str,
    recipe_hash: str,
    *,
    values: Mapping[str, str],
    complexity: Complexity,
    model: str | None,
    salt: str = "",
) -> str:
    """The same document and the same wish have the same key, in hex. A `salt` (a submission's id) makes it another."""
    said = json.dumps([document_hash, recipe_hash, dict(values), complexity.value, model, salt], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


def begin_submission(database: Database, *, recipe: str, label: str = "", again: bool = False, source: str = "") -> str:
    """Open a submission and return its id. `recipe` is a name; `source` says where the documents came from."""
    row = {
        "id": new_id("sub"),
        "created_at": database.now(),
        "recipe": recipe,
        "label": storable(label),
        "again": again,
        "source": storable(source),
    }
    database.write(lambda connection: connection.execute(insert_into(connection, submissions), [row]))
    return str(row["id"])


def add(
    database: Database, submission_id: str, chunk: Sequence[NewItem], *, last_turns: Mapping[Place, int] = NO_TURNS
) -> list[Added]:
    """Commit a chunk of items, 500 or so, with their documents and jobs; returns them in the same order.

    Two submitters of the same document at once get the same job, and one of them has `created` it. `last_turns` are
    those of the submission's chunks before: see `workers.ledger.line`.
    """
    at = database.now()
    fresh = [new_id("job") for _ in chunk]  # made here, so that a transaction run twice knows its own
    return database.write(lambda connection: _add(connection, submission_id, chunk, fresh, at, last_turns))


def mark_published(database: Database, published: Sequence[Published]) -> None:
    """Note that the broker has these messages, unless the job has moved on to a later one."""
    at = database.now()
    rows = [
        {"id": each.job_id, "generation": each.generation, "message_id": each.message_id, "at": at}
        for each in sorted(published, key=lambda each: each.job_id)
    ]
    database.write(lambda connection: _MARK.run(connection, rows))


def _add(
    connection: Connection,
    submission_id: str,
    chunk: Sequence[NewItem],
    fresh: Sequence[str],
    at: datetime,
    last_turns: Mapping[Place, int],
) -> list[Added]:
    _keep_documents(connection, [item.document for item in chunk], at)
    hashes = keep_recipes(connection, [item.recipe for item in chunk], at)
    turns = Turns(connection, [(item.lane, item.priority.step) for item in chunk], at, last_turns)
    jobs_wanted = [
        _job(item, job_id, hashes[id(item.recipe)], submission_id, turns, at)
        for item, job_id in zip(chunk, fresh, strict=True)
    ]
    # In the order of their keys: two submitters with the same documents wait for each other, never in a ring.
    jobs_wanted.sort(key=lambda row: row["key"])
    made = {job_id for (job_id,) in _KEEP_JOB.run(connection, jobs_wanted)}
    TELL.run(
        connection,
        [
            {"job_id": job_id, "at": at, "kind": "created", "attempt": 0, "generation": 0, "detail": None}
            for job_id in fresh
            if job_id in made
        ],
    )
    known = _known(connection, {item.key for item in chunk})
    added = [_added(item, job_id, *known[item.key]) for item, job_id in zip(chunk, fresh, strict=True)]
    _KEEP_ITEM.run(connection, [_item(item, one, submission_id) for item, one in zip(chunk, added, strict=True)])
    return added


def _known(connection: Connection, keys: Iterable[str]) -> dict[str, list[Any]]:
    """The jobs by key, as `_added` takes them. Where one was replayed as another, the one that answers in its place."""
    found: dict[str, list[Any]] = {}
    left = {row[0]: row for row in _FIND_JOB.run(connection, [{"key": key} for key in keys])}
    while left:
        found |= {key: list(row[1:-1]) for key, row in left.items()}
        replaced = {key: row[-1] for key, row in left.items() if row[-1] is not None}
        rows = _FIND_NEXT.run(connection, [{"id": job_id} for job_id in set(replaced.values())])
        by_id = {row[1]: row for row in rows}
        left = {key: by_id[job_id] for key, job_id in replaced.items() if job_id in by_id}
    return found


def _keep_documents(connection: Connection, wanted: Iterable[NewDocument], at: datetime) -> None:
    by_hash = {document.hash: document for document in wanted}
    there = {key for (key,) in _FIND_DOCUMENT.run(connection, [{"hash": key} for key in by_hash])}
    rows = [
        {
            "hash": key,
            "media_type": document.media_type,
            "content": document.content,
            "text": None if document.text is None else storable(document.text),
            "size_bytes": len(document.content),
            "characters": _characters(document),
            "pages": document.pages,
            "created_at": at,
        }
        for key, document in sorted(by_hash.items())
        if key not in there
    ]
    if rows:
        connection.execute(insert_into(connection, documents).on_conflict_do_nothing(), rows)


def keep_recipes(connection: Connection, wanted: Iterable[Recipe], at: datetime) -> dict[int, str]:
    """Hashes by identity: a recipe's takes a while, and a chunk has one recipe for all its items, or few."""
    distinct = {id(recipe): recipe for recipe in wanted}
    hashes = {identity: recipe.hash for identity, recipe in distinct.items()}
    by_hash = {hashes[identity]: recipe for identity, recipe in distinct.items()}
    rows = [
        {"hash": key, "name": recipe.name, "definition": recipe.model_dump(mode="json"), "created_at": at}
        for key, recipe in sorted(by_hash.items())
    ]
    if rows:
        connection.execute(insert_into(connection, recipes).on_conflict_do_nothing(), rows)
    return hashes


def _characters(document: NewDocument) -> int | None:
    if document.text is not None:
        return length(document.text)
    return None if document.media_type == "application/pdf" else len(document.content)


def _job(
    item: NewItem, job_id: str, recipe_hash: str, submission_id: str, turns: Turns, at: datetime
) -> dict[str, Any]:
    return {
        "id": job_id,
        "key": item.key,
        "submission_id": submission_id,
        "name": storable(item.name),
        "document_hash": item.document.hash,
        "recipe_hash": recipe_hash,
        "recipe": item.recipe.name,
        "values": dict(item.values),
        "complexity": item.complexity.value,
        "lane": item.lane,
        "priority": item.priority.step,
        "turn": turns.take(item.lane, item.priority.step),
        "model": item.model,
        "state": JobState.QUEUED.value,
        "generation": 0,
        "attempt": 0,
        "throttles": 0,
        "created_at": at,
    }


def _item(item: NewItem, added: Added, submission_id: str) -> dict[str, Any]:
    return {
        "submission_id": submission_id,
        "position": item.position,
        "name": storable(item.name),
        "job_id": added.job_id,
        "created": added.created,
        "metadata": dict(item.metadata),
    }


def _added(
    item: NewItem,
    fresh: str,
    job_id: str,
    generation: int,
    lane: str,
    priority: int,
    turn: int,
    state: str,
    published_at: datetime | None,
) -> Added:
    return Added(
        position=item.position,
        name=item.name,
        job_id=job_id,
        generation=generation,
        lane=lane,
        created=job_id == fresh,
        state=JobState(state),
        published=published_at is not None,
        priority=priority,
        turn=turn,
    )


def _mark(given: Given) -> Statement:
    return (
        update(jobs)
        .where(jobs.c.id == given["id"], jobs.c.generation == given["generation"])
        # A claim knows better by which message the job runs.
        .values(published_at=given["at"], message_id=func.coalesce(jobs.c.message_id, given["message_id"]))
    )


_FIND_DOCUMENT = Many(lambda given: select(documents.c.hash).where(documents.c.hash == given["hash"]), {"hash": ID})
_KNOWN = ("key", "id", "generation", "lane", "priority", "turn", "state", "published_at", "replayed_as")
_OF_KNOWN = [jobs.c[name] for name in _KNOWN]
_FIND_JOB = Many(lambda given: select(*_OF_KNOWN).where(jobs.c.key == given["key"]), {"key": ID})
_FIND_NEXT = Many(lambda given: select(*_OF_KNOWN).where(jobs.c.id == given["id"]), {"id": ID})
_KEEP_JOB = Many(
    lambda given: given.insert_into(jobs).returning(jobs.c.id),
    {
        **dict.fromkeys(("id", "key", "submission_id", "name", "document_hash", "recipe_hash", "recipe"), ID),
        "values": Json,
        **dict.fromkeys(("complexity", "lane", "model", "state"), ID),
        **dict.fromkeys(("generation", "attempt", "throttles", "priority"), NUMBER),
        "turn": BigInt,
        "created_at": MOMENT,
    },
)
_KEEP_ITEM = Many(
    lambda given: given.insert_into(items),
    {"submission_id": ID, "position": NUMBER, "name": ID, "job_id": ID, "created": FLAG, "metadata": Json},
)
_MARK = Many(_mark, {"id": ID, "generation": NUMBER, "message_id": ID, "at": MOMENT})
