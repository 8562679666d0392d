"""Is this body what the SDK's own types allow? Loading this module loads the SDK, which takes about a second.

The SDK's TypedDicts are the witness of what the API takes: an unknown field (`temperature` among them), a missing or
mistyped one is the API's 400. Limits that depend on the model are in `rules`.
"""

from __future__ import annotations

from typing import Any

from anthropic.types.message_count_tokens_params import MessageCountTokensParams
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming, MessageCreateParamsStreaming
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import SchemaValidator

from scripts.simulator.errors import ApiError


def _validator(params: object) -> SchemaValidator:
    # The union wrapper is what lets a config reach the TypedDicts inside.
    either = params | None  # type: ignore[operator]  # a TypedDict class, which object's stub knows nothing of
    adapter: TypeAdapter[Any] = TypeAdapter(either, config=ConfigDict(extra="forbid"))
    return SchemaValidator(_eager(adapter.core_schema))


def _eager(schema: Any) -> Any:  # noqa: ANN401 - a core schema is nested dicts and lists of anything
    """The schema with lists for iterables, which pydantic would not look into, and for the SDK's SequenceNotStr.

    Unions try their choices in order: text comes first, and is ten times as fast to check so.
    """
    if isinstance(schema, list):
        return [_eager(part) for part in schema]
    if isinstance(schema, tuple):
        return tuple(_eager(part) for part in schema)
    if not isinstance(schema, dict):
        return schema
    eager = {key: _eager(value) for key, value in schema.items()}
    match eager.get("type"):
        case "generator":
            eager["type"] = "list"
        case "is-instance" if eager.get("cls_repr") == "Sequence":
            return {"type": "list"}
        case "union":
            eager["mode"] = "left_to_right"
    return eager


_PLAIN = _validator(MessageCreateParamsNonStreaming)
_STREAM = _validator(MessageCreateParamsStreaming)
_COUNT = _validator(MessageCountTokensParams)


def check_message(body: dict[str, Any]) -> None:
    """Raises `ApiError` 400 naming the field that is wrong in a body for /v1/messages."""
    _check(_STREAM if body.get("stream") is True else _PLAIN, body)


def check_count(body: dict[str, Any]) -> None:
    """Raises `ApiError` 400 naming the field that is wrong in a body for /v1/messages/count_tokens."""
    _check(_COUNT, body)


def _check(validator: SchemaValidator, body: dict[str, Any]) -> None:
    try:
        validator.validate_python(body, strict=True)
    except ValidationError as error:
        raise ApiError(400, _wording(error)) from None


def _wording(error: ValidationError) -> str:
    """The deepest of pydantic's complaints (the union branch that fitted best), its path without type names."""
    complaints = error.errors(include_url=False, include_input=False, include_context=False)
    worst = max(complaints, key=lambda complaint: len(complaint["loc"]))
    path = ".".join(str(part) for part in worst["loc"] if isinstance(part, int) or _is_field(part))
    return f"{path}: {worst['msg']}"


def _is_field(part: str) -> bool:
    """Whether a part of a path is a field's name, not a type's (`TextBlockParam`, `str`, `list[...]`)."""
    return part.isidentifier() and part.islower() and part != "str"
