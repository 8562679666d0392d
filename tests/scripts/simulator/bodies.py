"""Requests as JSON, for the tests that need no client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from scripts.simulator.requests import Request, read_message

HAIKU = "claude-haiku-4-5-20251001"
SONNET = "claude-sonnet-4-6"
TEXT = "The mill stands by the river. It grinds paper all night, and in the morning there is flour for thought. " * 3


def body(text: Any = TEXT, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": HAIKU, "max_tokens": 1024, "messages": messages, **more}


def raw(text: Any = TEXT, **more: Any) -> bytes:
    return json.dumps(body(text, **more)).encode()


def request(text: Any = TEXT, **more: Any) -> Request:
    return read_message(raw(text, **more))


def json_format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"format": {"type": "json_schema", "schema": schema}}


async def until(condition: Callable[[], object]) -> None:
    """Wait for what has no event to wait for: a number in the bill."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - another process, or a bill that tells nobody
            await asyncio.sleep(0.01)
