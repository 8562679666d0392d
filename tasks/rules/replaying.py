"""What a replay asks of a document: the same again, or something else.

Decides only: `workers.replaying` carries out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from config.catalogue import Catalogue, Complexity
from config.recipe import Recipe
from tasks.rules.prompting import PDF_PAGE_CHARACTERS, characters_around


class BadEdit(ValueError):
    """A change that cannot be made to a job: one line for a person."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a job asks of its document."""

    recipe: Recipe
    values: Mapping[str, str]
    complexity: Complexity
    model: str | None
    """None leaves it to the complexity."""

    def __eq__(self, other: object) -> bool:
        """By the recipe's hash: a new description of the same recipe asks nothing else."""
        return isinstance(other, Asked) and self._said == other._said

    def __hash__(self) -> int:
        return hash(self._said[:1])

    @property
    def _said(self) -> tuple[object, ...]:
        return self.recipe.hash, dict(self.values), self.complexity, self.model


@dataclass(frozen=True, slots=True)
class Edit:
    """What is to be different. None, and no values, change nothing."""

    model: str | None = None
    max_tokens: int | None = None
    recipe: Recipe | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    complexity: Complexity | None = None


def edited(asked: Asked, edit: Edit) -> Asked:
    """What is asked after the edit. A recipe keeps the old values of the parameters that it shares with the old one.

    Raises `BadEdit` for a parameter without a value, and for a value without a parameter.
    """
    recipe = edit.recipe or asked.recipe
    if edit.max_tokens is not None:
        recipe = recipe.model_copy(update={"max_tokens": edit.max_tokens})
    for name in sorted(edit.values.keys() - recipe.parameters):
        raise BadEdit(f"recipe {recipe.name!r} takes no {name!r}: leave out --set {name}=...")
    values = {name: said for name, said in asked.values.items() if name in recipe.parameters} | dict(edit.values)
    for name in sorted(recipe.parameters - values.keys()):
        raise BadEdit(f"recipe {recipe.name!r} needs a {name}: give --set {name}='...'")
    return replace(
        asked,
        recipe=recipe,
        values=values,
        complexity=edit.complexity or asked.complexity,
        model=edit.model or asked.model,
    )


def call_of(asked: Asked, catalogue: Catalogue) -> tuple[str, int]:
    """The model that would be called, and the longest answer it may write, in tokens."""
    name = asked.model or catalogue.routes[asked.complexity]
    model = catalogue.models.get(name)
    return name, min(asked.recipe.max_tokens, model.max_output_tokens) if model else asked.recipe.max_tokens


def prompt_characters(asked: Asked, characters: int | None, pages: int | None) -> int:
    """Length of the prompt, as `write_prompt` counts it; `characters` is None for a PDF that is sent as it is."""
    document = (pages or 1) * PDF_PAGE_CHARACTERS if characters is None else characters
    return characters_around(document, asked.recipe, asked.recipe.instruct(asked.values).strip())


def changes(before: Asked, after: Asked, catalogue: Catalogue) -> Iterator[str]:
    """What differs, each as `name: old -> new`. Values are not told: a question may quote a document."""
    (old_model, old_max), (new_model, new_max) = call_of(before, catalogue), call_of(after, catalogue)
    for name, old, new in (
        ("recipe", before.recipe.name, after.recipe.name),
        ("complexity", before.complexity.value, after.complexity.value),
        ("lane", catalogue.lanes[before.complexity].queue, catalogue.lanes[after.complexity].queue),
        ("model", old_model, new_model),
        ("max_tokens", f"{old_max:,}", f"{new_max:,}"),
    ):
        if old != new:
            yield f"{name}: {old} -> {new}"
    if before.recipe.name == after.recipe.name and _text(before.recipe) != _text(after.recipe):
        yield f"recipe: {after.recipe.name} as it was -> as it is now"
    for name in sorted(after.values):
        if before.values.get(name) != after.values[name]:
            yield f"value of {name}: another"


def _text(recipe: Recipe) -> tuple[object, ...]:
    return recipe.system, recipe.instruction, recipe.output_schema
