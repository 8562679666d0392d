"""What the API refuses although its types allow it: limits of the model, combinations, schemas it does not compile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator, SchemaError
from pydantic_core import from_json, to_json

from scripts.simulator.errors import ApiError
from scripts.simulator.models import BY_NAME, Model

MAX_MESSAGES = 100_000
MAX_BREAKPOINTS = 4
MAX_OPTIONAL_FIELDS = 24
MAX_UNION_FIELDS = 16
FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
# What the SDK's `transform_schema` keeps; anything else it moves into the description.
COMMON_KEYWORDS = frozenset(
    {"type", "description", "title", "default", "enum", "const", "anyOf", "allOf", "$ref", "$defs", "definitions"}
)
KEYWORDS = {
    "object": COMMON_KEYWORDS | {"properties", "required", "additionalProperties"},
    "array": COMMON_KEYWORDS | {"items", "minItems"},
    "string": COMMON_KEYWORDS | {"format", "pattern"},
}


def model_of(body: Mapping[str, Any]) -> Model:
    """The model a checked body names. Raises `ApiError` 404 for one that is not served."""
    model = BY_NAME.get(body["model"])
    if model is None:
        raise ApiError(404, f"model: {body['model']}")
    return model


def check_rules(body: Mapping[str, Any], model: Model) -> None:
    """Raises `ApiError` 400 for the first rule that a body of valid types breaks on this model."""
    for problem in _problems(body, model):
        raise ApiError(400, problem)


def _problems(body: Mapping[str, Any], model: Model) -> Iterator[str]:
    messages = body["messages"]
    if not messages:
        yield "messages: at least one message is required"
    if len(messages) > MAX_MESSAGES:
        yield f"messages: {len(messages)} messages, at most {MAX_MESSAGES}"
    yield from _empty_text(messages)
    yield from _placed_wrongly(messages)
    if messages[-1]["role"] == "assistant" and not model.takes_prefill:
        yield "This model does not support assistant message prefill. The conversation must end with a user message."
    yield from _max_tokens_problems(body, model)
    yield from _thinking_problems(body, model)
    yield from _output_problems(body, model)
    if body.get("inference_geo") is not None and not model.takes_geo:
        yield f"inference_geo: not supported by {model.id}"
    if (body.get("tool_choice") or {}).get("type") in {"any", "tool"}:
        yield (
            "tool_choice: the simulator calls no tools"
            if model.takes_forced_tool
            else f"tool_choice: forced tool use is not supported by {model.id}"
        )


def _empty_text(messages: list[dict[str, Any]]) -> Iterator[str]:
    for index, message in enumerate(messages):
        content = message["content"]
        to_be_continued = message["role"] == "assistant" and index == len(messages) - 1
        if not content and not to_be_continued:
            yield f"messages.{index}: all messages must have non-empty content"
        if not isinstance(content, str) and any(block["type"] == "text" and not block["text"] for block in content):
            yield "messages: text content blocks must be non-empty"


def _placed_wrongly(messages: list[dict[str, Any]]) -> Iterator[str]:
    for message in messages:
        content = message["content"]
        if isinstance(content, str):
            continue
        if message["role"] == "assistant" and any(block["type"] == "document" for block in content):
            yield "messages: document blocks are not allowed in assistant messages"
        if message["role"] == "user" and any(block["type"] == "text" and block.get("citations") for block in content):
            yield "messages: text blocks in user messages must not have citations"


def _max_tokens_problems(body: Mapping[str, Any], model: Model) -> Iterator[str]:
    asked = body.get("max_tokens")
    if asked is None:  # count_tokens
        return
    if asked < 0:
        yield "max_tokens: Input should be greater than or equal to 0"
    if asked > model.max_output_tokens:
        yield (
            f"max_tokens: {asked} > {model.max_output_tokens}, which is the maximum allowed number of output tokens "
            f"for {model.id}"
        )
    if asked == 0 and (body.get("stream") or (body.get("output_config") or {}).get("format")):
        yield "max_tokens: 0 is not allowed with stream or output_config.format"


def _thinking_problems(body: Mapping[str, Any], model: Model) -> Iterator[str]:
    thinking = body.get("thinking")
    if not thinking:
        return
    if thinking["type"] not in model.thinking_types:
        yield f"thinking.type: {thinking['type']} is not supported by {model.id}"
    if thinking["type"] == "enabled" and not 1024 <= thinking["budget_tokens"] < body.get("max_tokens", 1 << 60):
        yield "thinking.budget_tokens: at least 1024 and less than max_tokens"


def _output_problems(body: Mapping[str, Any], model: Model) -> Iterator[str]:
    config = body.get("output_config") or {}
    effort = config.get("effort")
    if effort is not None and effort not in model.efforts:
        yield f"output_config.effort: {effort} is not supported by {model.id}"
    if config.get("format"):
        if body["messages"][-1]["role"] == "assistant":
            yield "output_config.format: not supported with assistant message prefill"
        yield from _compiled(to_json(config["format"]["schema"]))


@lru_cache(maxsize=256)
def _compiled(schema_json: bytes) -> tuple[str, ...]:
    """The problems of a schema; kept, as the API keeps its compiled grammars."""
    schema = from_json(schema_json)
    try:
        Draft202012Validator.check_schema(schema)
        return tuple(schema_problems(schema))
    except SchemaError as error:
        return (f"output_config.format.schema: not a valid JSON schema: {error.message}",)
    except ApiError as error:
        return (error.message,)


def schema_problems(schema: Mapping[str, Any]) -> Iterator[str]:
    """Why structured output would not take this JSON schema; nothing if it would."""
    where = "output_config.format.schema"
    optional = union = 0
    for node in _nodes(schema):
        kind = node.get("type")
        if extra := set(node) - KEYWORDS.get(kind if isinstance(kind, str) else "", COMMON_KEYWORDS):
            yield f"{where}: For '{kind}' type, {', '.join(sorted(extra))} not supported"
        if kind == "object" and node.get("additionalProperties") is not False:
            yield f"{where}: For 'object' type, 'additionalProperties' must be explicitly set to false"
        if kind == "array" and node.get("minItems", 0) not in {0, 1}:
            yield f"{where}: For 'array' type, 'minItems' values other than 0 or 1 are not supported"
        if kind == "string" and node.get("format", "date") not in FORMATS:
            yield f"{where}: string format {node['format']!r} is not supported"
        optional += len(set(node.get("properties", {})) - set(node.get("required", ())))
        union += "anyOf" in node or isinstance(kind, list)
    if optional > MAX_OPTIONAL_FIELDS or union > MAX_UNION_FIELDS:
        yield f"Schema is too complex for compilation. ({optional} optional and {union} union-typed parameters)"
    if _recursive(schema, schema, ()):
        yield f"{where}: Recursive schemas are not supported"


def resolve(root: Mapping[str, Any], ref: str) -> Mapping[str, Any]:
    """The schema that a `#/$defs/...` points at. Raises `ApiError` 400 where there is none."""
    node: Any = root
    try:
        for part in ref.removeprefix("#").strip("/").split("/"):
            node = node[part] if part else node
    except (KeyError, TypeError):
        node = None
    if not isinstance(node, Mapping):
        raise ApiError(400, f"output_config.format.schema: $ref {ref!r} points at nothing")
    return node


def _children(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    parts = [node.get("items"), *(node.get("anyOf") or ()), *(node.get("allOf") or ())]
    for table in ("properties", "$defs", "definitions"):
        parts.extend((node.get(table) or {}).values())
    yield from (part for part in parts if isinstance(part, Mapping))


def _nodes(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield schema
    for child in _children(schema):
        yield from _nodes(child)


def _recursive(root: Mapping[str, Any], node: Mapping[str, Any], refs: tuple[str, ...]) -> bool:
    ref = node.get("$ref")
    if ref is not None:
        return ref in refs or _recursive(root, resolve(root, ref), (*refs, ref))
    return any(_recursive(root, child, refs) for child in _children(node))
