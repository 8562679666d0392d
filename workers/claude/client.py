"""One `AsyncAnthropic` for each process and loop, and one call after another through it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Self

import anthropic
import httpx2
from pydantic import SecretStr

from config.settings import Settings
from tasks.model.call import Answer, Prompt, Route
from tasks.model.fault import Fault, TimedOut
from workers.claude.faults import WIRE_ERRORS, fault_of
from workers.claude.patience import Patience, listen
from workers.claude.reading import Reply, read_message, read_stream

SIMULATOR_HEADER = "docmill-simulator"
"""The simulator marks every response with it, so that a synthetic answer is known as one."""
KEEPALIVE_S = 5.0
"""Below the server's own limit: a request on a connection it has just closed fails, and is not sent again."""


class ClaudeClient:
    """Meets `tasks.ports.Claude`. Make it inside the loop that will use it, and close it there."""

    def __init__(self, settings: Settings, *, base_url: str | None, api_key: SecretStr, connections: int) -> None:
        """Make the client; nothing is sent.

        Args:
            settings: Timeouts.
            base_url: None for Anthropic's own address.
            api_key: Sent as a bearer token.
            connections: As many as calls in flight: one that waits for a connection would be taken for a failure.
        """
        limits = httpx2.Limits(max_connections=connections, keepalive_expiry=KEEPALIVE_S)
        self._silence_s = settings.silence_timeout_s
        self._client = anthropic.AsyncAnthropic(
            api_key=api_key.get_secret_value(),
            base_url=base_url,
            max_retries=0,  # the SDK would sleep in a worker's slot, and retry what is hopeless
            # Reading has no limit here: `Patience` keeps it, and knows a stopped process from a silent server.
            timeout=httpx2.Timeout(None, connect=settings.connect_timeout_s, pool=settings.silence_timeout_s),
            http_client=anthropic.DefaultAioHttpClient(limits=limits, event_hooks={"response": [listen]}),
            open_telemetry=False,
        )

    async def ask(self, prompt: Prompt, route: Route) -> Answer:
        """Send one request and read its answer to the end. Raises `Fault`."""
        started = time.monotonic()
        fault: Fault
        try:
            async with Patience(deadline_s=route.deadline_s, silence_s=self._silence_s):
                return await self._send(_body(prompt, route), route, started)
        except TimeoutError:
            fault = TimedOut(f"no whole answer within {route.deadline_s:.0f} s, or {self._silence_s:.0f} s of silence")
        except WIRE_ERRORS as error:
            fault = fault_of(error)
        # Raised out here, so that it has no __context__: the SDK's exception holds the key and the prompt.
        raise fault

    async def probe(self) -> None:
        """Ask for one model's name, which costs nothing. Raises `Fault`, when the key is not accepted or else."""
        fault: Fault | None = None
        try:
            await self._client.models.list(limit=1)
        except WIRE_ERRORS as error:
            fault = fault_of(error)
        if fault is not None:
            raise fault  # out here for the same reason

    async def _send(self, body: Mapping[str, Any], route: Route, started: float) -> Answer:
        response = await self._client.messages.with_raw_response.create(**body, stream=route.stream)
        first_byte = time.monotonic()
        parsed = await response.parse()
        reply = await read_stream(parsed) if isinstance(parsed, anthropic.AsyncStream) else read_message(parsed)
        return _answer(reply, response.headers, first_byte - started, time.monotonic() - started)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. Calls still in flight fail."""
        await self._client.close()


def _body(prompt: Prompt, route: Route) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": route.model,
        "max_tokens": route.max_tokens,
        "system": prompt.system,
        "messages": prompt.messages,
    }
    if prompt.output_schema is not None:
        schema = anthropic.transform_schema(dict(prompt.output_schema))
        body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    if route.disable_thinking:
        body["thinking"] = {"type": "disabled"}
    return body


def _answer(reply: Reply, headers: Mapping[str, str], first_byte_s: float, total_s: float) -> Answer:
    return Answer(
        text=reply.text,
        stop_reason=reply.stop_reason or "",
        refusal=reply.refusal,
        model=reply.model,
        usage=reply.usage,
        request_id=headers.get("request-id"),
        first_byte_ms=round(first_byte_s * 1000),
        total_ms=round(total_s * 1000),
        synthetic=SIMULATOR_HEADER in headers,
    )
