"""What a submitter asks of every document, and what that comes to for one of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from config.catalogue import Catalogue, Complexity
from config.recipe import Recipe
from tasks.model.priority import Priority
from workers.intake import ReadDocument, Taken, Unreadable
from workers.ledger import NewDocument, NewItem, job_key


class BadRequest(ValueError):
    """A submission that cannot be: the message names the thing, the value and the way out."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a submitter asks of every document, unless the document's own line says otherwise."""

    recipe: str = "summarize"
    complexity: Complexity | None = None
    """None leaves it to the recipe."""
    model: str | None = None
    """None leaves it to the complexity."""
    values: Mapping[str, str] = field(default_factory=dict)
    """For the recipe's parameters, such as `question`."""
    again: bool = False
    """Run, and pay for, documents that were submitted before."""
    label: str = ""
    priority: Priority = Priority.NORMAL


def check(wish: Wish, recipes: Mapping[str, Recipe], catalogue: Catalogue) -> Recipe:
    """The wish's recipe. Raises `BadRequest` for a recipe, parameter or model there is not."""
    recipe = recipes.get(wish.recipe)
    if recipe is None:
        raise BadRequest(f"no recipe {wish.recipe!r}: choose one of {', '.join(sorted(recipes))}")
    for name in sorted(recipe.parameters - wish.values.keys()):
        raise BadRequest(f"recipe {recipe.name!r} needs a {name}: give --set {name}='...'")
    for name in sorted(wish.values.keys() - recipe.parameters):
        raise BadRequest(f"recipe {recipe.name!r} takes no {name!r}: it takes {_listed(recipe.parameters)}")
    if wish.model is not None and wish.model not in catalogue.models:
        raise BadRequest(f"no model {wish.model!r}: choose one of {', '.join(catalogue.models)}")
    return recipe


def new_item(
    taken: Taken | Unreadable,
    wish: Wish,
    recipes: Mapping[str, Recipe],
    catalogue: Catalogue,
    *,
    position: int,
    salt: str,
) -> NewItem:
    """A document with what is asked of it; `salt` makes its job another one than any before. Raises `Unreadable`."""
    if isinstance(taken, Unreadable):
        raise taken
    source, document = taken
    own = replace(
        wish,
        recipe=source.recipe or wish.recipe,
        complexity=source.complexity or wish.complexity,
        priority=source.priority or wish.priority,
        values={**wish.values, **source.values},
    )
    try:
        recipe = check(own, recipes, catalogue)
    except BadRequest as error:
        raise Unreadable(source.name, str(error)) from None
    complexity = own.complexity or recipe.complexity
    return NewItem(
        position=position,
        name=source.name,
        key=job_key(
            document.hash,
            recipe.hash,
            values=own.values,
            complexity=complexity,
            model=own.model,
            salt=salt,
        ),
        document=NewDocument(
            hash=document.hash,
            media_type=document.media_type,
            content=document.content,
            text=None if _is_plain(document) else document.text,
            pages=document.pages,
        ),
        recipe=recipe,
        values=own.values,
        complexity=complexity,
        lane=catalogue.lanes[complexity].queue,
        model=own.model,
        metadata=source.metadata,
        priority=own.priority,
    )


def _is_plain(document: ReadDocument) -> bool:
    """Whether the text is the bytes as UTF-8, so that storing both would store it twice."""
    return document.text is not None and document.text.encode() == document.content


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
