"""Asking Claude how many tokens a prompt has, which is free. Limits of its own apply to it."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic

from tasks.model.call import Prompt, Route
from tasks.model.fault import Fault, TimedOut
from tasks.rules.prompting import messages
from workers.claude.faults import WIRE_ERRORS, fault_of

COUNT_TIMEOUT_S = 30.0
"""A prompt may be 32 MB, on its way over a thin line."""


async def count_tokens(client: anthropic.AsyncAnthropic, prompt: Prompt, route: Route) -> int:
    """Tokens of the prompt as this model takes it, cached or not. Raises `Fault`: what it says bills nobody."""
    body: dict[str, Any] = {"model": route.model, "system": prompt.system, "messages": messages(prompt)}
    if prompt.output_schema is not None:
        schema = anthropic.transform_schema(dict(prompt.output_schema))
        body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    fault: Fault
    try:
        async with asyncio.timeout(COUNT_TIMEOUT_S):
            return (await client.messages.count_tokens(**body)).input_tokens
    except TimeoutError:
        fault = TimedOut(f"no count of tokens within {COUNT_TIMEOUT_S:.0f} s")
    except WIRE_ERRORS as error:
        fault = fault_of(error)
    # Raised out here, so that it has no __context__: the SDK's exception holds the key and the prompt.
    raise fault
