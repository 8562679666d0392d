"""The catalogue: which models there are, what each takes, and which one a complexity is sent to."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from config.files import BadConfig, first_problem, merge, read_toml

SHIPPED = Path(__file__).with_name("catalogue.toml")


class Complexity(StrEnum):
    """How hard a document is, as its submitter sees it. High goes to the strong model."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Model(BaseModel):
    """Published limits of one model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window_tokens: int = Field(gt=0)
    """Prompt and answer together."""
    max_output_tokens: int = Field(gt=0)
    max_pdf_pages: int = Field(gt=0)
    """Pages of one PDF sent as it is; a longer one is refused by the API."""
    cache_floor_tokens: int = Field(gt=0)
    """Shortest prefix that the API caches; below it a cache mark does nothing, silently."""
    thinks_by_default: bool = False
    """Thinks, and bills the thinking as output, unless told not to."""
    limit_class: str = ""
    """Models whose calls count toward one rate limit share a class; empty: one of its own."""
    retires_on: date | None = None
    """Day from which it answers no more, as announced; None where nothing is."""


class Lane(BaseModel):
    """A queue and how many of its jobs one worker process runs at once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    queue: str = Field(min_length=1)
    concurrency: int = Field(gt=0)


class RateCeiling(BaseModel):
    """What all workers together may ask of a class of models, by our own decision; None leaves it to Claude."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rpm: int | None = Field(default=None, gt=0)
    """Requests per minute."""
    itpm: int | None = Field(default=None, gt=0)
    """Input tokens per minute, without cache reads."""
    otpm: int | None = Field(default=None, gt=0)
    """Output tokens per minute."""


class Catalogue(BaseModel):
    """The whole file, checked: every route leads to a listed model, every complexity has a lane."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: dict[str, Model]
    routes: dict[Complexity, str]
    lanes: dict[Complexity, Lane]
    suspect: Lane
    """Where a job goes whose worker died twice while it ran."""
    limits: dict[str, RateCeiling] = {}
    """By class of models. Claude's own limits are read from its responses, and count where they are lower."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for complexity in Complexity:
            model = self.routes.get(complexity)
            if model is None or complexity not in self.lanes:
                raise ValueError(f"complexity {complexity.value!r} needs a route and a lane")
            if model not in self.models:
                raise ValueError(f"routes.{complexity.value} = {model!r}: not one of {', '.join(self.models)}")
        queues = [lane.queue for lane in (*self.lanes.values(), self.suspect)]
        if len(set(queues)) < len(queues):
            raise ValueError(f"two lanes share a queue: {', '.join(queues)}")
        return self

    @property
    def queues(self) -> dict[str, int]:
        """Every queue of jobs, with how many of its jobs one worker process runs at once."""
        return {lane.queue: lane.concurrency for lane in (*self.lanes.values(), self.suspect)}

    def limit_class(self, model: str) -> str:
        """Which rate limit calls to a model count toward; one that is not listed has its own."""
        listed = self.models.get(model)
        return listed.limit_class or model if listed else model


def load_catalogue(home: Path) -> Catalogue:
    """The shipped catalogue with `home/catalogue.toml` on top. Raises `BadConfig`."""
    own = home / "catalogue.toml"
    table = read_toml(SHIPPED)
    if own.exists():
        table = merge(table, read_toml(own))
    try:
        return Catalogue.model_validate(table)
    except ValidationError as error:
        raise first_problem(own if own.exists() else SHIPPED, error) from None


__all__ = ["SHIPPED", "BadConfig", "Catalogue", "Complexity", "Lane", "Model", "load_catalogue"]
