"""Whether an answer is what the recipe asked for. Nobody downstream sees one that is not."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import jsonschema
from jsonschema.protocols import Validator

from config.recipe import Recipe
from tasks.model.call import Answer
from tasks.model.fault import BadOutput, Interrupted, Refused, TooLong, Truncated


def read(answer: Answer, recipe: Recipe) -> str:
    """The output: free text, or canonical JSON where the recipe has a schema.

    Raises `Refused`, `Truncated`, `TooLong`, `Interrupted` or `BadOutput`. Their messages name places in the schema and
    never quote the answer.
    """
    _check_ending(answer, recipe)
    if recipe.output_schema is None:
        if not answer.text.strip():
            raise BadOutput("the answer is empty", request_id=answer.request_id)
        return answer.text.strip()
    try:
        value = json.loads(answer.text)
    except (ValueError, RecursionError):
        raise BadOutput("the answer is not JSON", request_id=answer.request_id) from None
    for problem in _validator(recipe.schema_text).iter_errors(value):
        where = "/".join(str(step) for step in problem.absolute_schema_path)
        raise BadOutput(f"the answer breaks the schema at {where}", request_id=answer.request_id)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _check_ending(answer: Answer, recipe: Recipe) -> None:
    match answer.stop_reason:
        case "end_turn" | "stop_sequence":
            return
        case "refusal":
            raise Refused(
                f"Claude declined to answer (category {answer.refusal or 'not given'})",
                code=f"refusal:{answer.refusal}",
                request_id=answer.request_id,
            )
        case "max_tokens":
            raise Truncated(
                f"the answer reached max_tokens = {recipe.max_tokens:,}: raise it in recipe {recipe.name!r}",
                request_id=answer.request_id,
            )
        case "model_context_window_exceeded":
            raise TooLong("document and answer together exceed the model's window", request_id=answer.request_id)
        case other:
            raise Interrupted(f"the answer ended with stop_reason {other!r}", request_id=answer.request_id)


@lru_cache(maxsize=64)
def _validator(schema: str) -> Validator:
    parsed: dict[str, Any] = json.loads(schema)
    return jsonschema.Draft202012Validator(parsed)
