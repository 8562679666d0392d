"""What goes out is what the SDK would send; what comes in is read as it comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import anthropic
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.model.call import Usage
from tasks.model.fault import Interrupted
from workers.claude.reading import read_message, read_stream, usage_of
from workers.claude.wire import Wire, events, whole

TOLD_ANEW = {"content-length", "x-stainless-timeout", "x-stainless-read-timeout", "x-stainless-retry-count"}
"""The SDK's own statistics of a request, which the API does not need."""
BODY: dict[str, Any] = {
    "model": "claude-haiku-4-5-20251001",
    "max_tokens": 5,
    "messages": [{"role": "user", "content": "Zażółć gęślą jaźń"}],
    "stream": False,
}
MESSAGE: dict[str, Any] = {
    "model": "claude-haiku-4-5-20251001",
    "usage": {"input_tokens": 10, "output_tokens": 4},
    "stop_reason": "end_turn",
    "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Yes."}],
}
STREAM: list[dict[str, Any]] = [
    {"type": "message_start", "message": {**MESSAGE, "stop_reason": None, "content": []}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Yés"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "."}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "an_unknown_delta"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
    {"type": "an_event_of_tomorrow"},
    {"type": "message_stop"},
]


async def test_a_request_is_the_sdks_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "x-team: mill\nuser-agent: ours")
    heard: list[tuple[str, dict[str, str], Any]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = json.loads(await reader.readexactly(int(headers["content-length"])))
            heard.append((head[0], {name: headers[name] for name in headers.keys() - TOLD_ANEW}, body))
            said = json.dumps(MESSAGE).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
            writer.write(b"content-length: %d\r\n\r\n%b" % (len(said), said))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    http = anthropic.DefaultAioHttpClient()
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/behind/a/proxy"
    async with server, anthropic.AsyncAnthropic(api_key="k", base_url=address, http_client=http) as sdk:
        await sdk.messages.create(**BODY)
        response = await Wire(sdk, http).send(BODY)
        assert json.loads(await whole(response.aiter_bytes())) == MESSAGE
        await response.aclose()
    theirs, ours = heard
    assert ours == theirs
    assert ours[0] == "POST /behind/a/proxy/v1/messages HTTP/1.1"
    assert ours[1]["authorization"] == "Bearer k"
    assert ours[1]["user-agent"] == "ours"


async def in_pieces(content: bytes, cuts: Sequence[int]) -> AsyncIterator[bytes]:
    ends = sorted({cut % (len(content) + 1) for cut in cuts} | {len(content)})
    for start, end in zip([0, *ends], ends, strict=False):
        yield content[start:end]


def response() -> httpx2.Response:
    return httpx2.Response(200, request=httpx2.Request("POST", "http://127.0.0.1"))


def as_sent(said: Sequence[dict[str, Any]], end: str = "\n") -> bytes:
    lines = (f"event: {e['type']}{end}data: {json.dumps(e, ensure_ascii=False)}{end}{end}" for e in said)
    return (f": a comment{end}" + "".join(lines)).encode()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@given(cuts=st.lists(st.integers(min_value=0, max_value=2_000), max_size=12))
def test_a_stream_reads_the_same_however_it_is_cut(cuts: list[int], end: str) -> None:
    reply = asyncio.run(read_stream(events(response(), in_pieces(as_sent(STREAM, end), cuts))))
    assert (reply.text, reply.stop_reason, reply.refusal) == ("Yés.", "end_turn", None)
    assert reply.usage == Usage(input=10, output=7)


@pytest.mark.parametrize("count", range(len(STREAM)))
async def test_a_stream_that_ends_early_is_no_answer(count: int) -> None:
    with pytest.raises(Interrupted, match="ended before the answer did"):
        await read_stream(events(response(), in_pieces(as_sent(STREAM[:count]), ())))


@pytest.mark.parametrize("kind", ["overloaded_error", "api_error"])
async def test_an_error_in_a_stream_is_the_sdks_exception(kind: str) -> None:
    said = [*STREAM[:4], {"type": "error", "error": {"type": kind, "message": "no"}}]
    with pytest.raises(anthropic.APIStatusError) as caught:
        await read_stream(events(response(), in_pieces(as_sent(said), ())))
    assert (caught.value.type, caught.value.api_message, caught.value.status_code) == (kind, "no", 200)


@pytest.mark.parametrize(
    "said",
    [
        "<html>",
        None,
        [],
        3,
        {},
        {"type": "error"},
        {**MESSAGE, "usage": None},
        {**MESSAGE, "usage": {"input_tokens": 1}},
        {**MESSAGE, "content": None},
        {**MESSAGE, "content": [None]},
        {name: value for name, value in MESSAGE.items() if name != "stop_reason"},
    ],
)
async def test_what_is_no_message_is_a_fault(said: object) -> None:
    with pytest.raises(Interrupted, match="no Message"):
        read_message(said)
    start = {"type": "message_start", "message": said}
    with pytest.raises(Interrupted, match="no Message"):
        await read_stream(events(response(), in_pieces(as_sent([start]), ())))


async def test_an_event_that_is_no_object_is_a_fault() -> None:
    with pytest.raises(Interrupted, match="no Message"):
        await read_stream(events(response(), in_pieces(b"data: [1]\n\n", ())))


def test_a_refusal_has_its_category() -> None:
    said = {**MESSAGE, "stop_reason": "refusal", "stop_details": {"type": "refusal", "category": "bio"}}
    assert (read_message(said).stop_reason, read_message(said).refusal) == ("refusal", "bio")
    assert read_message({**said, "stop_details": None}).refusal is None
    assert read_message(MESSAGE).text == "Yes.", "thinking is no part of the answer"


@pytest.mark.parametrize(
    ("billed", "usage"),
    [
        ({}, Usage(input=1, output=2)),
        ({"cache_creation_input_tokens": 9}, Usage(input=1, cache_write_5m=9, output=2)),
        (
            {"cache_creation_input_tokens": 9, "cache_creation": {"ephemeral_1h_input_tokens": 4}},
            Usage(input=1, cache_write_5m=5, cache_write_1h=4, output=2),
        ),
        ({"cache_read_input_tokens": 7, "cache_creation": None}, Usage(input=1, cache_read=7, output=2)),
        ({"output_tokens_details": {"thinking_tokens": 1}}, Usage(input=1, output=2, thinking=1)),
        ({"output_tokens_details": None}, Usage(input=1, output=2)),
    ],
)
def test_usage_as_billed(billed: dict[str, Any], usage: Usage) -> None:
    assert usage_of({"input_tokens": 1, "output_tokens": 2, **billed}) == usage


async def test_the_ends_counts_replace_those_of_the_start_where_they_are_given() -> None:
    end = {"input_tokens": 20, "cache_read_input_tokens": None, "output_tokens": 9}
    details = {"output_tokens_details": {"thinking_tokens": 3}}
    said = [STREAM[0], {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": end | details}]
    reply = await read_stream(events(response(), in_pieces(as_sent([*said, {"type": "message_stop"}]), ())))
    assert reply.usage == Usage(input=20, output=9, thinking=3)
