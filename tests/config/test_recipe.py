"""Recipes: shipped ones, and those a user drops into a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.catalogue import Complexity
from config.files import BadConfig
from config.recipe import load_recipes

OWN = """
system = "You translate."
instruction = "Translate into {language}."
max_tokens = 900
"""


def test_the_shipped_recipes(tmp_path: Path) -> None:
    recipes = load_recipes(tmp_path)
    assert {"summarize", "extract-entities", "classify", "answer"} <= recipes.keys()
    assert recipes["answer"].parameters == {"question"}
    assert recipes["answer"].complexity is Complexity.HIGH
    assert recipes["extract-entities"].output_schema is not None


def test_a_dropped_file_is_a_recipe_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "translate.toml").write_text(OWN)
    recipe = load_recipes(tmp_path)["translate"]
    assert recipe.instruct({"language": "{Danish}"}) == "Translate into {Danish}."


def test_the_hash_is_of_what_is_sent_or_checked(tmp_path: Path) -> None:
    recipe = load_recipes(tmp_path)["classify"]
    assert recipe.model_copy(update={"description": "other"}).hash == recipe.hash
    assert recipe.model_copy(update={"complexity": Complexity.HIGH}).hash == recipe.hash
    assert recipe.hash  # asked for before, and so cached: the copies must not take it with them
    changed = [
        recipe.model_copy(update={"max_tokens": 1}),
        recipe.model_copy(update={"system": "x"}),
        recipe.model_copy(update={"output_schema": None}),
    ]
    assert len({recipe.hash, *(other.hash for other in changed)}) == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (OWN + "temperature = 0", "temperature: Extra inputs are not permitted"),
        (OWN + "output_schema = '{'", "output_schema"),
        (OWN + 'output_schema = \'{"type": "thing"}\'', "output_schema: 'thing' is not valid"),
        ('system = "x"', "instruction: Field required"),
        (OWN.replace("900", "0"), "max_tokens: Input should be greater than 0"),
    ],
)
def test_a_wrong_recipe_is_told_by_its_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "mine.toml").write_text(text)
    with pytest.raises(BadConfig) as caught:
        load_recipes(tmp_path)
    assert "mine.toml" in str(caught.value)
    assert said in str(caught.value)
