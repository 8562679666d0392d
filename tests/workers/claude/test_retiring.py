"""When models retire: asked of the far side, a real one that says what the simulator has no reason to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime

import pytest

from scripts.simulator.process import SimulatorProcess
from tests.workers.claude.test_client import client_of

MODEL = {"type": "model", "id": "claude-9", "display_name": "Claude 9", "created_at": "2026-01-01T00:00:00Z"}


@asynccontextmanager
async def far_side(
    status: int, *, kind: str = "application/json", body: str = "", **said: str
) -> AsyncIterator[tuple[str, list[str]]]:
    """Address of a server that says the same of every model, and what it was asked."""
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        asked.append(head.split()[1])
        content = (body or json.dumps({**MODEL, **said})).encode()
        writer.write(b"HTTP/1.1 %d x\r\nContent-Type: %b\r\n" % (status, kind.encode()))
        writer.write(b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


@pytest.mark.parametrize(
    ("said", "day"),
    [
        ({"lifecycle": "active"}, None),
        ({"lifecycle": "deprecated"}, None),
        ({"lifecycle": "deprecated", "retires_at": "2026-12-31T23:30:00-05:00"}, date(2027, 1, 1)),
        ({"lifecycle": "retired", "retires_at": "2026-11-01T00:00:00Z"}, date(2026, 11, 1)),
    ],
)
async def test_the_day_is_the_far_sides_in_utc_and_asked_once(said: dict[str, str], day: date | None) -> None:
    async with far_side(200, **said) as (url, asked), client_of(url) as claude:
        assert [await claude.retires_on("claude-9") for _ in range(3)] == [day] * 3
        assert asked == ["/v1/models/claude-9"]


async def test_a_model_that_has_retired_without_a_day_retires_today() -> None:
    async with far_side(200, lifecycle="retired") as (url, _), client_of(url) as claude:
        before = datetime.now(UTC).date()
        assert await claude.retires_on("claude-9") in {before, datetime.now(UTC).date()}


async def test_who_cannot_be_asked_is_not_asked_again_at_once() -> None:
    async with far_side(500) as (url, asked), client_of(url) as claude:
        assert [await claude.retires_on("claude-9") for _ in range(3)] == [None] * 3
        assert len(asked) == 1


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html", "<html>a login page</html>"),
        ("application/json", '{"id": "claude-9", "object": "model", "owned_by": "somebody"}'),
        ("application/json", '{"lifecycle": "deprecated", "retires_at": "soon"}'),
        ("application/json", "[]"),
    ],
)
async def test_a_gateway_that_says_something_else_says_nothing_of_it(kind: str, body: str) -> None:
    """Else the day's total and every alert would fail with it."""
    async with far_side(200, kind=kind, body=body) as (url, _), client_of(url) as claude:
        assert await claude.retires_on("claude-9") is None


async def test_the_simulator_is_asked_like_claude() -> None:
    with SimulatorProcess() as simulator:
        async with client_of(simulator.url) as claude:
            assert await claude.retires_on("claude-haiku-4-5-20251001") is None
            assert await claude.retires_on("claude-none") is None
