"""What the simulator takes and what it refuses, as the API would."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from typing import Any

import pytest
from pypdf import PdfWriter

from scripts.simulator.errors import ApiError
from scripts.simulator.requests import document_key, read_count, read_message
from tests.scripts.simulator.bodies import HAIKU, SONNET, TEXT, body, json_format, raw, request


def a_pdf(pages: int, *, password: str | None = None, compressed: bool = False) -> str:
    writer = PdfWriter()
    for _ in range(pages):
        writer.add_blank_page(72, 72)
    if password:
        writer.encrypt(password)
    if compressed:
        writer.compress_identical_objects()
    target = io.BytesIO()
    writer.write(target)
    return base64.b64encode(target.getvalue()).decode()


def pdf_block(data: str) -> dict[str, Any]:
    return {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": data}}


def text_block(text: str = TEXT, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": text, **more}


CACHED: dict[str, Any] = {"cache_control": {"type": "ephemeral"}}
USER = {"role": "user", "content": "Hello"}
BAD = [
    ({"temperature": 0.5}, "temperature"),
    ({"top_p": 0.5}, "top_p"),
    ({"top_k": 5}, "top_k"),
    ({"colour": "red"}, "colour"),
    ({"max_tokens": "many"}, "max_tokens: Input should be a valid integer"),
    ({"max_tokens": 64_001}, "64001 > 64000"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": 0, "stream": True}, "max_tokens"),
    ({"stream": 1}, "stream"),
    ({"messages": []}, "at least one message"),
    ({"messages": "Hello"}, "messages"),
    ({"messages": [{"role": "robot", "content": "Hello"}]}, r"messages\.0\.role"),
    ({"messages": [{"role": "user"}]}, r"messages\.0\.content"),
    ({"messages": [{"role": "user", "content": ""}]}, "non-empty"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, r"messages\.0\.content\.0\.text"),
    ({"messages": [{"role": "user", "content": [text_block("")]}]}, "non-empty"),
    ({"messages": [USER, {"role": "assistant", "content": [pdf_block("")]}, USER]}, "assistant messages"),
    ({"messages": [{"role": "user", "content": [text_block(**CACHED)] * 5}]}, "maximum of 4"),
    ({"messages": [{"role": "user", "content": [pdf_block("!")]}]}, "base64"),
    ({"messages": [{"role": "user", "content": [pdf_block("aGVsbG8=")]}]}, "PDF"),
    ({"model": SONNET, "messages": [USER, {"role": "assistant", "content": "I"}]}, "prefill"),
    ({"output_config": {"effort": "low"}}, "effort"),
    ({"model": SONNET, "output_config": {"effort": "xhigh"}}, "effort"),
    ({"output_config": json_format({"type": "object"})}, "additionalProperties"),
    (
        {"output_config": json_format({"type": "object", "properties": [], "additionalProperties": False})},
        "JSON schema",
    ),
    ({"output_config": json_format({"$ref": "#/$defs/nowhere"})}, "points at nothing"),
    ({"inference_geo": "us"}, "inference_geo"),
    ({"thinking": {"type": "adaptive"}}, "thinking"),
    ({"thinking": {"type": "enabled", "budget_tokens": 5}}, "budget_tokens"),
    ({"model": "claude-haiku-5-5", "thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking"),
    ({"model": "claude-sonnet-5-5", "tool_choice": {"type": "any"}}, "forced tool use"),
    ({"stop_sequences": "stop"}, "stop_sequences"),
]


@pytest.mark.parametrize(("more", "complaint"), BAD)
def test_a_request_the_api_would_not_take_is_a_400_that_names_the_field(more: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ApiError, match=complaint) as refused:
        read_message(raw(**more))
    assert refused.value.status == 400


GOOD = [
    {"system": "Be brief."},
    {"system": [text_block(**CACHED)]},
    {"messages": [{"role": "user", "content": [text_block(), text_block(**CACHED)]}]},
    {"messages": [USER, {"role": "assistant", "content": "I"}]},
    {"model": SONNET, "output_config": {"effort": "high"}, "inference_geo": "us"},
    {"model": SONNET, "thinking": {"type": "adaptive", "display": "omitted"}},
    {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2048},
    {
        "metadata": {"user_id": "u"},
        "stop_sequences": ["\n"],
        "service_tier": "auto",
        "cache_control": {"type": "ephemeral"},
    },
    {"tools": [{"name": "t", "input_schema": {"type": "object"}}], "tool_choice": {"type": "auto"}},
    {"max_tokens": 0},
    {"stream": False},
]


@pytest.mark.parametrize("more", GOOD)
def test_a_request_the_api_takes_is_taken(more: dict[str, Any]) -> None:
    assert read_message(raw(**more)).prompt_tokens > 0


def test_an_unknown_model_is_not_found() -> None:
    with pytest.raises(ApiError) as refused:
        request(model="claude-9")
    assert refused.value.status == 404


@pytest.mark.parametrize("garbage", [b"", b"[]", b"{", b"\xff", b'"text"', b"null"])
def test_garbage_is_a_400(garbage: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        read_message(garbage)
    assert refused.value.status == 400


def test_a_body_above_32_mb_is_too_large() -> None:
    with pytest.raises(ApiError) as refused:
        read_message(b" " * (32 * 1024 * 1024 + 1))
    assert refused.value.status == 413


def test_a_prompt_longer_than_the_window_says_by_how_much() -> None:
    with pytest.raises(ApiError, match=r"prompt is too long: 2500\d\d tokens > 200000 maximum"):
        request("a" * 1_000_000)
    assert request("a" * 1_000_000, model=SONNET).prompt_tokens > 250_000


def test_counting_tokens_takes_the_same_body_without_max_tokens() -> None:
    counted = {key: value for key, value in body().items() if key != "max_tokens"}
    assert read_count(json.dumps(counted).encode()).prompt_tokens == request().prompt_tokens
    with pytest.raises(ApiError, match="max_tokens"):
        read_count(raw())


def test_the_new_tokenizer_counts_about_a_third_more() -> None:
    old, new = request(TEXT * 50), request(TEXT * 50, model="claude-haiku-5-5")
    assert 1.29 < new.prompt_tokens / old.prompt_tokens < 1.31


@pytest.mark.parametrize("compressed", [False, True])
def test_a_pdf_costs_by_its_pages(compressed: bool) -> None:
    data = a_pdf(3, compressed=compressed)
    assert request([pdf_block(data), text_block("What is it?")]).prompt_tokens > 9_000


def test_a_pdf_may_have_100_pages_on_a_small_window_and_600_on_a_large_one() -> None:
    content = [pdf_block(a_pdf(101))]
    with pytest.raises(ApiError, match="maximum of 100 PDF pages"):
        request(content)
    assert request(content, model=SONNET).prompt_tokens > 300_000


def test_an_encrypted_pdf_is_refused() -> None:
    with pytest.raises(ApiError, match="password protected"):
        request([pdf_block(a_pdf(1, password="secret"))])


def test_a_document_key_is_the_hash_of_the_last_user_content() -> None:
    assert document_key(TEXT) == hashlib.sha256(TEXT.encode()).hexdigest()[:16]
    assert request().document_key == document_key(TEXT)
    blocks = [text_block("a"), text_block("b")]
    assert request(blocks).document_key == document_key(blocks) != document_key(blocks[::-1])


def test_the_document_is_what_stands_in_tags_else_the_longest_text() -> None:
    assert request("Summarise. <document id='1'>The mill.</document> Now.").document == "The mill."
    assert request([text_block("Summarise."), text_block(TEXT)]).document == TEXT
    assert request("A {{sim:doc:a}}mill.").document == "A mill."


def test_prefixes_are_in_cache_order_and_a_top_level_mark_is_the_last_blocks() -> None:
    made = request(model=HAIKU, system=[text_block("s", **CACHED)], cache_control={"type": "ephemeral", "ttl": "1h"})
    assert [block.ttl for block in made.blocks] == ["5m", "1h"]
