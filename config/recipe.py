"""Recipes: what to ask of a document and what a right answer looks like. One TOML file each.

A recipe is known by its name and, in the ledger, by the hash of what it says: a job keeps the recipe it was
submitted with, whatever the file says later.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

import jsonschema
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from config.catalogue import Complexity
from config.files import BadConfig, first_problem, read_toml

SHIPPED = Path(__file__).with_name("recipes")

PLACEHOLDER = re.compile(r"\{(\w+)\}")


def _parse_json(value: object) -> object:
    return json.loads(value) if isinstance(value, str) else value


class Recipe(BaseModel):
    """What to ask, and what a right answer looks like."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")
    description: str = ""
    system: str = Field(min_length=1)
    instruction: str = Field(min_length=1)
    """Follows the document. `{question}` and the like stand for what the submitter gives; see `parameters`."""
    max_tokens: int = Field(gt=0)
    """Longest answer, in tokens. The call's deadline follows from it."""
    complexity: Complexity = Complexity.LOW
    """Used where the submitter says none."""
    output_schema: Annotated[dict[str, Any] | None, BeforeValidator(_parse_json)] = None
    """JSON Schema that the answer must meet. None means free text."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.output_schema is not None:
            try:
                jsonschema.Draft202012Validator.check_schema(self.output_schema)
            except jsonschema.SchemaError as error:
                raise ValueError(f"output_schema: {error.message}") from None
        return self

    @property
    def parameters(self) -> frozenset[str]:
        """Names the submitter must give a value for, such as `question`."""
        return frozenset(PLACEHOLDER.findall(self.instruction))

    @cached_property
    def hash(self) -> str:
        """SHA-256 of everything that is sent or checked, in hex."""
        said = self.model_dump_json(exclude={"description", "complexity"})
        return hashlib.sha256(said.encode()).hexdigest()

    @cached_property
    def schema_text(self) -> str:
        """The schema as canonical JSON; `null` for none."""
        return json.dumps(self.output_schema, ensure_ascii=False, sort_keys=True)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Pydantic's, which copies what is cached as well: a changed recipe has a hash of its own."""
        copy = super().model_copy(update=update, deep=deep)
        for name in copy.__dict__.keys() - type(self).model_fields.keys():
            del copy.__dict__[name]
        return copy

    def instruct(self, values: Mapping[str, str]) -> str:
        """The instruction with the submitter's values in place. `values` holds every name in `parameters`."""
        return PLACEHOLDER.sub(lambda found: values[found[1]], self.instruction)


def load_recipes(home: Path) -> dict[str, Recipe]:
    """Recipes by name: the shipped ones, and those in `home/recipes`, which win. Raises `BadConfig`."""
    recipes: dict[str, Recipe] = {}
    for folder in (SHIPPED, home / "recipes"):
        for path in sorted(folder.glob("*.toml")):
            recipe = _read(path)
            recipes[recipe.name] = recipe
    return recipes


def _read(path: Path) -> Recipe:
    try:
        return Recipe.model_validate({"name": path.stem, **read_toml(path)})
    except ValidationError as error:
        raise first_problem(path, error) from None
    except RecursionError:
        raise BadConfig(f"{path}: output_schema is nested too deeply") from None
