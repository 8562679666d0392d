"""What goes out is what the SDK would send; what comes in is read as it comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import anthropic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from tasks.model.call import Usage
from tasks.model.fault import Interrupted
from workers.claude.reading import read_message, read_stream, usage_of
from workers.claude.wire import Body, ErrorEvent, Head, Wire, environment_proxy, events

TOLD_ANEW = {
    *("x-stainless-timeout", "x-stainless-read-timeout", "x-stainless-retry-count"),  # the SDK's own statistics
    *("content-length", "accept-encoding", "connection"),  # between the two HTTP clients
}
"""What may differ from the SDK's own request."""
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


def wire_of(sdk: anthropic.AsyncAnthropic) -> Wire:
    return Wire(sdk, connections=1, connect_timeout_s=1, pool_timeout_s=1)


@asynccontextmanager
async def closing(wire: Wire) -> AsyncIterator[Wire]:
    try:
        yield wire
    finally:
        await wire.close()


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
        async with closing(wire_of(sdk)) as wire:
            body = Body(BODY)
            assert json.loads(body.decode()) == BODY
            response = await wire.send(body)
            assert await response.json() == MESSAGE
            assert body.decode() == "", "it is written, and a call may wait for long"
    theirs, ours = heard
    assert ours == theirs
    assert ours[0] == "POST /behind/a/proxy/v1/messages HTTP/1.1"
    assert ours[1]["authorization"] == "Bearer k"
    assert ours[1]["user-agent"] == "ours"


async def in_pieces(content: bytes, cuts: Sequence[int]) -> AsyncIterator[bytes]:
    ends = sorted({cut % (len(content) + 1) for cut in cuts} | {len(content)})
    for start, end in zip([0, *ends], ends, strict=False):
        yield content[start:end]


def as_sent(said: Sequence[dict[str, Any]], end: str = "\n") -> bytes:
    lines = (f"event: {e['type']}{end}data: {json.dumps(e, ensure_ascii=False)}{end}{end}" for e in said)
    return (f": a comment{end}" + "".join(lines)).encode()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@given(cuts=st.lists(st.integers(min_value=0, max_value=2_000), max_size=12))
def test_a_stream_reads_the_same_however_it_is_cut(cuts: list[int], end: str) -> None:
    reply = asyncio.run(read_stream(events(in_pieces(as_sent(STREAM, end), cuts))))
    assert (reply.text, reply.stop_reason, reply.refusal) == ("Yés.", "end_turn", None)
    assert reply.usage == Usage(input=10, output=7)


@pytest.mark.parametrize("count", range(len(STREAM)))
async def test_a_stream_that_ends_early_is_no_answer(count: int) -> None:
    with pytest.raises(Interrupted, match="ended before the answer did"):
        await read_stream(events(in_pieces(as_sent(STREAM[:count]), ())))


@pytest.mark.parametrize("kind", ["overloaded_error", "api_error"])
async def test_an_error_in_a_stream_is_the_sdks_exception(kind: str) -> None:
    said = [*STREAM[:4], {"type": "error", "error": {"type": kind, "message": "no"}}]
    with pytest.raises(ErrorEvent) as caught:
        await read_stream(events(in_pieces(as_sent(said), ())))
    async with anthropic.AsyncAnthropic(api_key="k") as sdk, closing(wire_of(sdk)) as wire:
        error = wire.status_error(Head(200, {"request-id": "req-1"}), caught.value.said)
    assert (error.type, error.api_message, error.status_code, error.request_id) == (kind, "no", 200, "req-1")


@pytest.mark.parametrize(
    ("variables", "address", "proxy"),
    [
        ({}, "https://api.example", None),
        ({"https_proxy": "http://gate:3128"}, "https://api.example", "http://gate:3128"),
        ({"https_proxy": "gate:3128"}, "https://api.example", "http://gate:3128"),
        ({"https_proxy": "http://gate:3128"}, "http://api.example", None),
        ({"all_proxy": "http://me:pw@gate:3128"}, "https://api.example", "http://me:pw@gate:3128"),
        ({"https_proxy": "http://gate:3128", "no_proxy": "example"}, "https://api.example", None),
    ],
)
def test_the_environments_proxy_is_gone_by(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], address: str, proxy: str | None
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert environment_proxy(URL(address)) == (URL(proxy) if proxy else None)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(("login", "told"), [("", None), ("me:a%40b@", b"Basic bWU6YUBi")])
async def test_a_proxy_hears_its_login_and_never_the_key(
    monkeypatch: pytest.MonkeyPatch, scheme: str, login: str, told: bytes | None
) -> None:
    heard: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    monkeypatch.setenv(f"{scheme}_proxy", f"http://{login}127.0.0.1:{server.sockets[0].getsockname()[1]}")
    monkeypatch.setenv("no_proxy", "")
    async with (
        server,
        anthropic.AsyncAnthropic(api_key="k", base_url=f"{scheme}://api.example") as sdk,
        closing(wire_of(sdk)) as wire,
    ):
        with suppress(anthropic.APIConnectionError):  # a tunnel that is refused
            await (await wire.send(Body(BODY))).read()
    head = dict(line.lower().split(b": ", 1) for line in heard[0].split(b"\r\n")[1:] if line)
    said = head.get(b"proxy-authorization")
    assert said == (told and told.lower())
    if scheme == "https":
        assert heard[0].startswith(b"CONNECT api.example:443 ")
        assert b"authorization" not in head
    else:
        assert heard[0].startswith(b"POST http://api.example/v1/messages ")
        assert head[b"authorization"] == b"bearer k", "without TLS the proxy stands between us and Claude"


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
        await read_stream(events(in_pieces(as_sent([start]), ())))


async def test_an_event_that_is_no_object_is_a_fault() -> None:
    with pytest.raises(Interrupted, match="no Message"):
        await read_stream(events(in_pieces(b"data: [1]\n\n", ())))


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
    reply = await read_stream(events(in_pieces(as_sent([*said, {"type": "message_stop"}]), ())))
    assert reply.usage == Usage(input=20, output=9, thinking=3)
