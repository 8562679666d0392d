"""Submissions, calls and answers for the tests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from config.catalogue import Complexity
from config.recipe import Recipe
from tasks.model.call import Call, CallState, Route, Usage
from tasks.model.job import Job
from tasks.rules.prompting import shell_hash, write_prompt
from tests.values import HAIKU_PRICE
from workers.ledger import (
    Added,
    Database,
    NewDocument,
    NewItem,
    Published,
    add,
    begin_submission,
    job_key,
    mark_published,
    new_id,
)

RECIPE = Recipe(name="summarize", system="You summarize.", instruction="In {words} words.", max_tokens=100)
VALUES = {"words": "ten"}
ROUTE = Route("claude-haiku-4-5-20251001", 100, "complexity low", stream=False, deadline_s=30.0)

DAY = "2026-11-22"
PRICE = HAIKU_PRICE.model_copy(update={"model": ROUTE.model, "source": "genai-prices", "version": "1"})


def document(text: str) -> NewDocument:
    content = text.encode()
    return NewDocument(hashlib.sha256(content).hexdigest(), "text/plain", content, None)


def item(position: int, text: str, *, salt: str = "") -> NewItem:
    asked = document(text)
    key = job_key(asked.hash, RECIPE.hash, values=VALUES, complexity=Complexity.LOW, model=None, salt=salt)
    return NewItem(position, f"{text}.txt", key, asked, RECIPE, VALUES, Complexity.LOW, "low", metadata={"n": position})


def submit(database: Database, texts: Sequence[str], *, salt: str = "") -> tuple[str, list[Added]]:
    """Submit and publish; returns the submission's id and what became of its items."""
    submission_id = begin_submission(database, recipe=RECIPE.name, label="test", source="a test")
    added = add(database, submission_id, [item(position, text, salt=salt) for position, text in enumerate(texts)])
    mark_published(database, [Published(one.job_id, one.generation, f"{one.job_id}.0") for one in added if one.created])
    return submission_id, added


def call_of(job: Job) -> tuple[Call, str]:
    """The intent of a call for a claimed job, and its prompt's shell."""
    prompt = write_prompt(job.document, job.recipe, job.values)
    call = Call(
        id=new_id("call"),
        job_id=job.id,
        attempt=job.attempt,
        generation=job.generation,
        model=ROUTE.model,
        max_tokens=ROUTE.max_tokens,
        shell_hash=shell_hash(prompt.shell),
        document_hash=job.document.hash,
        queued_ms=job.queued_ms,
        estimate_nanousd=900,
        day=DAY,
    )
    return call, prompt.shell


def answered(call: Call, text: str = "an answer", *, cost_nanousd: int | None = 123) -> Call:
    return replace(
        call,
        state=CallState.ANSWERED,
        usage=Usage(input=10, cache_read=7, output=5),
        cost_nanousd=cost_nanousd,
        price=None if cost_nanousd is None else PRICE,
        request_id="req_1",
        status=200,
        stop_reason="end_turn",
        first_byte_ms=3,
        total_ms=4,
        synthetic=True,
        text=text,
    )
