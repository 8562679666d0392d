"""Answers that do not arrive as they should: what the SDK sees of them, and that the bill says so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic import AsyncAnthropic

from scripts.simulator.server import Simulator
from tests.scripts.simulator.bodies import body, raw, until

LOST = (anthropic.APIConnectionError, httpx2.HTTPError)
# The SDK's stream helper asserts that there was a message_start.
NOT_A_MESSAGE = (anthropic.APIResponseValidationError, json.JSONDecodeError, anthropic.APIError, AssertionError)


async def closed_row(simulator: Simulator) -> dict[str, Any]:
    """The only row, once its request has ended."""
    await until(lambda: simulator.bill.totals()["in_flight"] == 0)
    (row,) = simulator.bill.rows()
    return row


async def streamed(client: AsyncAnthropic, text: str) -> anthropic.types.Message:
    async with client.messages.stream(**body(text)) as stream:
        return await stream.get_final_message()


async def plain(client: AsyncAnthropic, text: str) -> anthropic.types.Message:
    message: anthropic.types.Message = await client.messages.create(**body(text))
    return message


Ask = Callable[[AsyncAnthropic, str], Any]


@pytest.mark.parametrize("ask", [plain, streamed])
@pytest.mark.parametrize(("kind", "seen"), [("cut", LOST), ("html200", NOT_A_MESSAGE), ("badjson", NOT_A_MESSAGE)])
async def test_a_lost_or_spoiled_answer_is_charged(
    ask: Ask, kind: str, seen: tuple[type[Exception], ...], client: AsyncAnthropic, simulator: Simulator
) -> None:
    with pytest.raises(seen):
        await ask(client, f"Flour. {{{{sim:{kind}}}}}")
    row = await closed_row(simulator)
    assert (row["outcome"], row["fault"], row["charged"]) == (kind, kind, True)
    assert row["nanousd"] > 0


async def test_a_stream_that_ends_in_silence_has_no_stop_reason(client: AsyncAnthropic, simulator: Simulator) -> None:
    message = await streamed(client, "Flour. {{sim:silent_end}}")
    assert message.stop_reason is None
    assert (await closed_row(simulator))["outcome"] == "silent_end"


async def test_an_error_event_comes_after_a_200_and_is_free(client: AsyncAnthropic, simulator: Simulator) -> None:
    with pytest.raises(anthropic.APIStatusError) as refused:
        await streamed(client, "Flour. {{sim:error_event}}")
    assert (refused.value.status_code, refused.value.type) == (200, "overloaded_error")
    row = await closed_row(simulator)
    assert (row["outcome"], row["charged"]) == ("error:event", False)


async def test_a_hanging_answer_is_charged_when_the_client_gives_up(
    client: AsyncAnthropic, simulator: Simulator
) -> None:
    with pytest.raises(anthropic.APITimeoutError):
        await plain(client.with_options(timeout=1), "Flour. {{sim:hang}}")
    row = await closed_row(simulator)
    assert (row["fault"], row["charged"]) == ("hang", True)


@pytest.mark.parametrize("ask", [plain, streamed])
async def test_a_trickle_outlasts_a_timeout_between_bytes(
    ask: Ask, client: AsyncAnthropic, simulator: Simulator
) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2):
            await ask(client.with_options(timeout=1), "Flour. {{sim:trickle}}")
    row = await closed_row(simulator)
    assert (row["outcome"], row["charged"]) == ("client_gone", True)


async def test_an_answer_is_charged_though_its_client_has_gone(client: AsyncAnthropic, simulator: Simulator) -> None:
    with pytest.raises(anthropic.APITimeoutError):
        await plain(client.with_options(timeout=1), "Flour. {{sim:latency:2}}")
    row = await closed_row(simulator)
    assert (row["outcome"], row["charged"]) == ("client_gone", True)
    assert row["ms"] >= 1_990


async def test_latency_and_speed_are_kept(client: AsyncAnthropic, simulator: Simulator) -> None:
    simulator.configure(latency="fixed:0.1", tokens_per_s=100)
    await plain(client, "Flour. {{sim:tokens:20}}")
    row = await closed_row(simulator)
    assert 290 <= row["ms"] < 3_000


async def test_a_stream_comes_in_pieces_at_its_speed(client: AsyncAnthropic, simulator: Simulator) -> None:
    simulator.configure(tokens_per_s=200)
    loop = asyncio.get_running_loop()
    times = []
    async with client.messages.stream(**body("Flour. {{sim:tokens:60}}")) as stream:
        async for _ in stream.text_stream:
            times.append(loop.time())  # noqa: PERF401 - a comprehension would hide that time passes
    assert len(times) > 3
    assert times[-1] - times[0] > 0.15


async def test_a_reset_forgets_what_is_in_flight(client: AsyncAnthropic, simulator: Simulator) -> None:
    asking = asyncio.create_task(plain(client, "Flour. {{sim:latency:0.2}}"))
    await until(lambda: simulator.bill.totals()["in_flight"])
    simulator.reset()
    await asking
    assert simulator.bill.totals()["requests"] == 0


# The HTTP beneath, where a client is not the SDK.


async def exchange(simulator: Simulator, *pieces: bytes, answers: int = 1) -> list[bytes]:
    """Send raw bytes; the bodies of the answers that come back, all with a content-length."""
    host, _, port = simulator.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01)
    got = []
    for _ in range(answers):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        got.append(head.partition(b"\r\n")[0] + await reader.readexactly(length))
    writer.close()
    await writer.wait_closed()
    return got


def http(content: bytes, extra: str = "") -> bytes:
    head = (
        f"POST /v1/messages HTTP/1.1\r\nx-api-key: any\r\nanthropic-version: 1\r\n{extra}content-length: {len(content)}"
    )
    return f"{head}\r\n\r\n".encode() + content


async def test_requests_in_one_packet_are_answered_in_order(simulator: Simulator) -> None:
    slow, fast = http(raw("Slow. {{sim:latency:0.1}}")), http(raw("Fast."))
    answers = await exchange(simulator, slow + fast, answers=2)
    assert b"Slow." in answers[0]
    assert b"Fast." in answers[1]


async def test_a_request_may_come_in_any_pieces(simulator: Simulator) -> None:
    whole = http(raw("Flour."))
    (answer,) = await exchange(simulator, whole[:7], whole[7:100], whole[100:])
    assert answer.startswith(b"HTTP/1.1 200 OK")


async def test_a_client_that_asks_to_continue_is_told_so(simulator: Simulator) -> None:
    host, _, port = simulator.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    content = raw("Flour.")
    writer.write(http(content, "expect: 100-continue\r\n")[: -len(content)])
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(content)
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"POST /v1/messages HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", b"411"),
        (b"POST /v1/messages HTTP/1.1\r\ncontent-length: 999999999\r\n\r\n", b"413"),
        (b"GET /v1/nothing HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /_sim/nothing HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /_sim/bill?limit=x HTTP/1.1\r\n\r\n", b"400"),
        (http(b" " * (33 * 1024 * 1024)), b"413"),
        (http(b"{}").replace(b"anthropic-version: 1\r\n", b""), b"400"),
    ],
)
async def test_what_is_no_request_gets_a_status(sent: bytes, status: bytes, simulator: Simulator) -> None:
    (answer,) = await exchange(simulator, sent)
    assert answer.startswith(b"HTTP/1.1 " + status)
