"""The real SDK, refusing whatever does not fit its types, accepts everything the simulator says."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import jsonschema
import pytest
from anthropic import AsyncAnthropic
from anthropic.types import Message

from scripts.simulator.models import MODELS
from scripts.simulator.server import Simulator
from scripts.simulator.usage import Usage, cost_nanousd
from tests.scripts.simulator.bodies import HAIKU, SONNET, TEXT, body, json_format

SCHEMA = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "kind": {"enum": ["invoice", "letter"]},
        "parties": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "since": {"anyOf": [{"type": "string", "format": "date"}]}},
                "required": ["name"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["title", "kind", "parties"],
    "additionalProperties": False,
}
SHAPES: dict[str, dict[str, Any]] = {
    "text": {},
    "blocks": {"messages": [{"role": "user", "content": [{"type": "text", "text": TEXT}]}]},
    "system": {"system": "Be brief."},
    "structured": {"output_config": json_format(SCHEMA)},
    "thinks": {"model": "claude-haiku-5-5"},
    "thinks unseen": {"model": SONNET, "thinking": {"type": "adaptive", "display": "omitted"}},
    "cut short": {"max_tokens": 5},
    "cut short while thinking": {"model": "claude-sonnet-5-5", "max_tokens": 5},
    "stop sequence": {"stop_sequences": ["mill"]},
    "in the US": {"model": SONNET, "inference_geo": "us"},
    "refused": {"messages": [{"role": "user", "content": "No. {{sim:refusal}}"}]},
    "truncated": {"messages": [{"role": "user", "content": "Long. {{sim:truncated}}"}]},
    "cached": {"system": [{"type": "text", "text": TEXT * 100, "cache_control": {"type": "ephemeral"}}]},
}


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def as_usage(message: Message) -> Usage:
    usage = message.usage
    assert usage.cache_creation is not None
    assert usage.cache_creation_input_tokens is not None
    assert usage.cache_read_input_tokens is not None
    split = (usage.cache_creation.ephemeral_5m_input_tokens, usage.cache_creation.ephemeral_1h_input_tokens)
    assert sum(split) == usage.cache_creation_input_tokens
    return Usage(usage.input_tokens, *split, usage.cache_read_input_tokens, usage.output_tokens)


@pytest.mark.parametrize("shape", SHAPES)
async def test_plain_and_streamed_say_the_same_and_are_billed_as_they_say(
    shape: str, client: AsyncAnthropic, simulator: Simulator
) -> None:
    asked = body(**SHAPES[shape])
    plain = await client.messages.create(**asked)
    simulator._api._cache.clear()
    async with client.messages.stream(**asked) as stream:
        pieces = [piece async for piece in stream.text_stream]
        streamed = await stream.get_final_message()
    assert streamed.stop_reason == plain.stop_reason
    assert [block.to_dict() for block in streamed.content] == [block.to_dict() for block in plain.content]
    assert "".join(pieces) == text_of(plain)
    assert as_usage(streamed) == as_usage(plain)
    model = next(model for model in MODELS if model.id == plain.model)
    rows = list(simulator.bill.rows())
    expected = cost_nanousd(model, as_usage(plain), geo=plain.usage.inference_geo or "")
    assert [row["nanousd"] for row in rows] == [expected, expected]
    assert {row["outcome"] for row in rows} == {"delivered"}
    assert plain._request_id == rows[0]["request_id"]


async def test_free_text_says_that_it_is_synthetic(client: AsyncAnthropic) -> None:
    answered = await client.messages.with_raw_response.create(**body())
    assert answered.headers["docmill-simulator"] == "1"
    message = await answered.parse()
    assert text_of(message).startswith("[synthetic] The mill stands by the river.")


async def test_a_structured_answer_keeps_its_schema(client: AsyncAnthropic) -> None:
    message = await client.messages.create(**body(output_config=json_format(SCHEMA)))
    jsonschema.validate(json.loads(text_of(message)), SCHEMA)


async def test_bad_output_breaks_the_schema(client: AsyncAnthropic) -> None:
    message = await client.messages.create(**body("A letter. {{sim:bad_output}}", output_config=json_format(SCHEMA)))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(text_of(message)), SCHEMA)


async def test_the_same_seed_and_document_have_the_same_answer(client: AsyncAnthropic) -> None:
    asked = body(output_config=json_format(SCHEMA))
    one, other = await client.messages.create(**asked), await client.messages.create(**asked)
    assert text_of(one) == text_of(other)


async def test_an_answer_can_be_as_long_as_the_document_asks(client: AsyncAnthropic) -> None:
    message = await client.messages.create(**body("Flour. {{sim:tokens:700}}"))
    assert (message.usage.output_tokens, message.stop_reason) == (700, "end_turn")
    message = await client.messages.create(**body("Flour. {{sim:tokens:7000}}"))
    assert (message.usage.output_tokens, message.stop_reason) == (1024, "max_tokens")


async def test_a_cached_prefix_is_written_then_read(client: AsyncAnthropic) -> None:
    asked = body(**SHAPES["cached"])
    written, read = await client.messages.create(**asked), await client.messages.create(**asked)
    assert as_usage(written).write_5m == as_usage(read).read > 4_096
    assert as_usage(written).prompt == as_usage(read).prompt


async def test_counted_tokens_are_the_prompts(client: AsyncAnthropic) -> None:
    asked = body()
    message = await client.messages.create(**asked)
    counted = await client.messages.count_tokens(model=HAIKU, messages=asked["messages"])
    assert counted.input_tokens == as_usage(message).prompt


async def test_models_are_listed_page_by_page_and_found_by_alias(client: AsyncAnthropic) -> None:
    listed = [model async for model in client.models.list(limit=3)]
    assert [model.id for model in listed] == [model.id for model in MODELS]
    assert (await client.models.retrieve("claude-haiku-4-5")).id == HAIKU
    with pytest.raises(anthropic.NotFoundError):
        await client.models.retrieve("claude-9")


ERRORS: dict[str, tuple[type[anthropic.APIStatusError], int, str | None, str | None, str | None]] = {
    "429": (anthropic.RateLimitError, 429, "rate_limit_error", None, "1"),
    "429:7": (anthropic.RateLimitError, 429, "rate_limit_error", None, "7"),
    "429_bare": (anthropic.RateLimitError, 429, "rate_limit_error", None, None),
    "ramp": (anthropic.RateLimitError, 429, "rate_limit_error", "ramp_limit_exceeded", "1"),
    "spend_cap": (anthropic.RateLimitError, 429, "rate_limit_error", "enforced_spend_limit_reached", None),
    "contract_cap": (anthropic.RateLimitError, 429, "rate_limit_error", "contract_spend_limit_reached", None),
    "usage_limit": (anthropic.BadRequestError, 400, "invalid_request_error", None, None),
    "credit": (anthropic.BadRequestError, 400, "invalid_request_error", None, None),
    "on_hold": (anthropic.BadRequestError, 400, "invalid_request_error", "organization_on_hold", None),
    "400": (anthropic.BadRequestError, 400, "invalid_request_error", None, None),
    "too_long": (anthropic.BadRequestError, 400, "invalid_request_error", None, None),
    "bad_pdf": (anthropic.BadRequestError, 400, "invalid_request_error", None, None),
    "401": (anthropic.AuthenticationError, 401, "authentication_error", None, None),
    "402": (anthropic.PaymentRequiredError, 402, "billing_error", None, None),
    "403": (anthropic.PermissionDeniedError, 403, "permission_error", None, None),
    "404": (anthropic.NotFoundError, 404, "not_found_error", None, None),
    "413": (anthropic.ContentTooLargeError, 413, "request_too_large", None, None),
    "500": (anthropic.InternalServerError, 500, "api_error", None, None),
    "502": (anthropic.InternalServerError, 502, None, None, None),
    "503": (anthropic.ServiceUnavailableError, 503, "api_error", None, None),
    "504": (anthropic.GatewayTimeoutError, 504, "timeout_error", None, None),
    "529": (anthropic.OverloadedError, 529, "overloaded_error", None, None),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ERRORS)
async def test_an_error_on_demand_is_the_apis_own_and_free(
    kind: str, stream: bool, client: AsyncAnthropic, simulator: Simulator
) -> None:
    expected, status, error_type, code, retry_after = ERRORS[kind]
    with pytest.raises(expected) as refused:
        await client.messages.create(**body(f"Flour. {{{{sim:{kind}}}}}"), stream=stream)
    error = refused.value
    assert (error.status_code, error.type, error.error_code) == (status, error_type, code)
    assert error.response.headers.get("retry-after") == retry_after
    (row,) = simulator.bill.rows()
    assert (row["outcome"], row["charged"], row["nanousd"]) == (f"error:{status}", False, 0)
    assert error.request_id == row["request_id"]
    assert row["retry_after_s"] == (None if retry_after is None else float(retry_after))


async def test_a_missing_or_a_bad_key_is_refused_and_both_headers_are_taken(
    client: AsyncAnthropic, simulator: Simulator
) -> None:
    with pytest.raises(anthropic.AuthenticationError):
        await client.with_options(api_key="bad-key").messages.create(**body())
    with pytest.raises(anthropic.AuthenticationError):
        await client.with_options(api_key="bad-key").models.list()
    older = client.with_options(default_headers={"authorization": "", "x-api-key": "any"})
    assert (await older.messages.create(**body())).model == HAIKU
    assert simulator.bill.totals()["charged"] == 1


async def test_what_is_over_the_limit_is_told_when_to_come_back(client: AsyncAnthropic, simulator: Simulator) -> None:
    simulator.configure(limits={HAIKU: {"rpm": 30, "burst_s": 4}})
    for left in ("1", "0"):
        answered = await client.messages.with_raw_response.create(**body())
        assert answered.headers["anthropic-ratelimit-requests-remaining"] == left
    with pytest.raises(anthropic.RateLimitError) as refused:
        await client.messages.create(**body())
    assert refused.value.response.headers["retry-after"] == "2"
    await client.messages.create(**body(model=SONNET))  # another model, other buckets
    simulator.reset()
    await client.messages.create(**body())


async def test_the_first_requests_of_a_document_fail_and_then_it_is_answered(
    client: AsyncAnthropic, simulator: Simulator
) -> None:
    for _ in range(2):
        with pytest.raises(anthropic.OverloadedError):
            await client.messages.create(**body("Flour. {{sim:doc:a}} {{sim:529x2}}"))
    simulator.configure(latency="0.001")  # forgets no counts
    assert await client.messages.create(**body("Say it again: Flour. {{sim:doc:a}} {{sim:529x2}}"))
    assert [row["document"] for row in simulator.bill.rows()] == ["a"] * 3


async def test_faults_at_a_rate_cost_nothing(client: AsyncAnthropic, simulator: Simulator) -> None:
    simulator.configure(faults=0.5)
    failed = 0
    for number in range(60):
        try:
            await client.messages.create(**body(f"Document {number}"))
        except anthropic.APIStatusError:
            failed += 1
    totals = simulator.bill.totals()
    assert 15 < failed < 45
    assert (totals["requests"], totals["charged"]) == (60, 60 - failed)
