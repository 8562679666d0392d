"""Values that many tests start from: a recipe, a document, a job, a route, an answer."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from config.catalogue import Catalogue, Complexity, load_catalogue
from config.prices import Price
from config.recipe import Recipe
from tasks.model.call import Answer, Prompt, Route, Usage
from tasks.model.job import Document, Job
from tasks.rules.prompting import write_prompt

NO_HOME = Path("/nonexistent")
HAIKU = "claude-haiku-4-5-20251001"
SONNET = "claude-sonnet-4-6"

SUMMARIZE = Recipe(name="summarize", system="You summarize.", instruction="Summarize it.", max_tokens=500)
ASK = SUMMARIZE.model_copy(update={"name": "answer", "instruction": "Answer: {question}"})
SORT = Recipe(
    name="sort",
    system="You sort.",
    instruction="Sort it.",
    max_tokens=100,
    output_schema={
        "type": "object",
        "properties": {"kind": {"type": "string", "enum": ["letter", "invoice"]}, "pages": {"type": "integer"}},
        "required": ["kind"],
        "additionalProperties": False,
    },
)

HAIKU_PRICE = Price(
    input=Decimal(1),
    output=Decimal(5),
    cache_write_5m=Decimal("1.25"),
    cache_write_1h=Decimal(2),
    cache_read=Decimal("0.1"),
)


def catalogue() -> Catalogue:
    """The catalogue as shipped."""
    return load_catalogue(NO_HOME)


def a_document(text: str | None = "Dear Anna, the parcel came.", **changes: Any) -> Document:
    """A short letter."""
    return replace(Document(hash="d" * 64, name="letter.txt", text=text), **changes)


def a_job(**changes: Any) -> Job:
    """A first attempt at summarizing the letter."""
    job = Job(
        id="j_1",
        token="t_1",
        generation=1,
        attempt=0,
        throttles=0,
        complexity=Complexity.LOW,
        model=None,
        recipe=SUMMARIZE,
        values={},
        document=a_document(),
        queued_ms=0,
    )
    return replace(job, **changes)


def a_prompt(**changes: Any) -> Prompt:
    """What that job asks."""
    return replace(write_prompt(a_document(), SUMMARIZE, {}), **changes)


def a_route(**changes: Any) -> Route:
    """A plain call to the cheap model."""
    route = Route(model=HAIKU, max_tokens=500, reason="complexity low", stream=False, deadline_s=30)
    return replace(route, **changes)


def an_answer(text: str = "A parcel came.", **changes: Any) -> Answer:
    """A right answer."""
    answer = Answer(
        text=text,
        stop_reason="end_turn",
        refusal=None,
        model=HAIKU,
        usage=Usage(input=120, output=30),
        request_id="req_1",
        first_byte_ms=10,
        total_ms=20,
        synthetic=True,
    )
    return replace(answer, **changes)
