"""A structured answer is valid under its schema, and is the same for the same document."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from anthropic import transform_schema
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from scripts.simulator.rules import FORMATS, schema_problems
from scripts.simulator.schema_answers import SchemaAnswer

names = st.text("abcdefgh_", min_size=1, max_size=6)
literals = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text(max_size=5))
leaves: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.sampled_from([{"type": kind} for kind in ("string", "integer", "number", "boolean", "null")]),
    st.builds(lambda form: {"type": "string", "format": form}, st.sampled_from(sorted(FORMATS))),
    st.builds(lambda values: {"enum": values}, st.lists(literals, min_size=1, max_size=4)),
    st.builds(lambda value: {"const": value}, literals),
    st.just({"type": ["string", "null"]}),
    st.just({"$ref": "#/$defs/word"}),
)


def an_object(properties: dict[str, dict[str, Any]], required: set[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": sorted(required & set(properties)),
        "additionalProperties": False,
    }


def branches(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        st.builds(an_object, st.dictionaries(names, inner, max_size=4), st.sets(names, max_size=4)),
        st.builds(lambda items, least: {"type": "array", "items": items, "minItems": least}, inner, st.integers(0, 1)),
        st.builds(lambda variants: {"anyOf": variants}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda part: {"allOf": [part]}, inner),
    )


schemas = st.recursive(leaves, branches, max_leaves=12).map(
    lambda node: {"$defs": {"word": {"type": "string"}}, **node}
)


@given(schemas, st.lists(st.text(min_size=1, max_size=5), max_size=9), st.integers(0, 2**32 - 1))
def test_the_answer_is_valid_under_the_schema(schema: dict[str, Any], words: list[str], seed: int) -> None:
    answer = SchemaAnswer(schema, words, seed).value()
    jsonschema.validate(answer, schema, cls=jsonschema.Draft202012Validator)
    assert answer == SchemaAnswer(schema, words, seed).value()


class Person(BaseModel):
    name: str = Field(min_length=1)
    age: int = Field(ge=0, le=150)
    nickname: str | None = None


class Entities(BaseModel):
    kind: str = Field(pattern="^[a-z]+$")
    people: list[Person]
    amount: float | None


def test_what_the_sdk_makes_of_a_pydantic_model_is_accepted() -> None:
    schema = transform_schema(Entities)
    assert list(schema_problems(schema)) == []
    jsonschema.validate(SchemaAnswer(schema, ["one"], 7).value(), schema)


@pytest.mark.parametrize(
    ("schema", "complaint"),
    [
        ({"type": "object", "properties": {}}, "additionalProperties"),
        ({"type": "integer", "minimum": 1}, "minimum not supported"),
        ({"type": "string", "maxLength": 1}, "maxLength not supported"),
        ({"type": "string", "format": "colour"}, "'colour'"),
        ({"type": "array", "items": {"type": "string"}, "minItems": 2}, "minItems"),
        ({"type": "array", "items": {"$ref": "#"}}, "Recursive"),
        (an_object({f"f{n}": {"type": "null"} for n in range(25)}, set()), "too complex"),
        (an_object({f"f{n}": {"anyOf": []} for n in range(17)}, {f"f{n}" for n in range(17)}), "too complex"),
    ],
)
def test_a_schema_the_api_does_not_compile_is_named(schema: dict[str, Any], complaint: str) -> None:
    assert any(complaint in problem for problem in schema_problems(schema))
