"""What a replay asks: the same again, or something else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from config.catalogue import Complexity
from tasks.rules.prompting import write_prompt
from tasks.rules.replaying import Asked, BadEdit, Edit, call_of, changes, edited, prompt_characters
from tests.values import ASK, HAIKU, SONNET, SORT, SUMMARIZE, a_document, catalogue

ASKED = Asked(SUMMARIZE, {}, Complexity.LOW, None)
QUESTION = {"question": "Who signed it?"}


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        ({}, {}),
        ({"model": SONNET}, {"model": SONNET}),
        ({"complexity": Complexity.HIGH}, {"complexity": Complexity.HIGH}),
        ({"max_tokens": 900}, {"recipe": SUMMARIZE.model_copy(update={"max_tokens": 900})}),
        ({"recipe": SORT}, {"recipe": SORT}),
        ({"recipe": ASK, "values": QUESTION}, {"recipe": ASK, "values": QUESTION}),
    ],
)
def test_an_edit_changes_what_it_names_and_nothing_else(edit: dict[str, Any], expected: dict[str, Any]) -> None:
    assert edited(ASKED, Edit(**edit)) == replace(ASKED, **expected)


def test_an_edit_that_changes_nothing_asks_the_same() -> None:
    described = SUMMARIZE.model_copy(update={"description": "in other words"})
    assert edited(ASKED, Edit(recipe=described, max_tokens=SUMMARIZE.max_tokens)) == ASKED
    assert edited(ASKED, Edit(max_tokens=501)) != ASKED


def test_a_new_recipe_keeps_the_values_it_can_use() -> None:
    asked = Asked(ASK, QUESTION, Complexity.LOW, None)
    longer = ASK.model_copy(update={"instruction": "In {words} words: {question}"})
    assert edited(asked, Edit(recipe=longer, values={"words": "ten"})).values == {**QUESTION, "words": "ten"}
    assert edited(asked, Edit(recipe=SUMMARIZE)).values == {}


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (Edit(recipe=ASK), "recipe 'answer' needs a question: give --set question='...'"),
        (Edit(values={"tone": "kind"}), "recipe 'summarize' takes no 'tone': leave out --set tone=..."),
    ],
)
def test_a_parameter_without_a_value_or_a_value_without_one_is_told(edit: Edit, told: str) -> None:
    with pytest.raises(BadEdit, match=told.replace(".", r"\.")):
        edited(ASKED, edit)


def test_the_call_is_that_of_the_route_within_the_models_limits() -> None:
    assert call_of(ASKED, catalogue()) == (HAIKU, 500)
    assert call_of(replace(ASKED, model=SONNET), catalogue()) == (SONNET, 500)
    endless = edited(ASKED, Edit(max_tokens=10_000_000))
    assert call_of(endless, catalogue())[1] == catalogue().models[HAIKU].max_output_tokens


@pytest.mark.parametrize(
    ("document", "characters"), [(a_document(), 27), (a_document(text=None, pdf=b"%PDF", pages=3), None)]
)
def test_the_prompt_is_as_long_as_the_one_that_is_sent(document: Any, characters: int | None) -> None:
    asked = Asked(ASK, QUESTION, Complexity.LOW, None)
    assert prompt_characters(asked, characters, document.pages) == write_prompt(document, ASK, QUESTION).characters


def test_what_changes_is_told_without_the_values() -> None:
    before = Asked(ASK, {"question": "Where?"}, Complexity.LOW, None)
    after = edited(before, Edit(max_tokens=900, complexity=Complexity.HIGH, values={"question": "Who?"}))
    assert list(changes(before, after, catalogue())) == [
        "complexity: low -> high",
        "lane: docmill.low -> docmill.high",
        f"model: {HAIKU} -> {SONNET}",
        "max_tokens: 500 -> 900",
        "value of question: another",
    ]
    reworded = ASK.model_copy(update={"system": "You answer well."})
    assert list(changes(before, replace(before, recipe=reworded), catalogue())) == [
        "recipe: answer as it was -> as it is now"
    ]
    assert list(changes(before, before, catalogue())) == []
