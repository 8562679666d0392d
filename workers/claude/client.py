"""One `AsyncAnthropic` for each process and loop, and one call after another through it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import date
from functools import lru_cache
from typing import Any, Self

import anthropic
import httpx2
from pydantic import SecretStr

from config.settings import Settings
from tasks.model.call import Answer, Prompt, Route
from tasks.model.fault import Fault, TimedOut
from tasks.rules.prompting import messages
from workers.claude import counting
from workers.claude.faults import WIRE_ERRORS, fault_of
from workers.claude.patience import Patience
from workers.claude.reading import Reply, read_message, read_stream
from workers.claude.retiring import Retiring
from workers.claude.wire import KEEPALIVE_S, Body, ErrorEvent, Head, Wire, events

SIMULATOR_HEADER = "docmill-simulator"
"""The simulator marks every response with it, so that a synthetic answer is known as one."""
Observe = Callable[[str, Mapping[str, str]], None]
"""Told the model and the headers of each response to a message call, errors too. Quick, and it must not raise."""


class ClaudeClient:
    """Meets `tasks.ports.Claude`. Make it inside the loop that will use it, and close it there."""

    def __init__(
        self,
        settings: Settings,
        *,
        base_url: str | None,
        api_key: SecretStr,
        connections: int,
        observe: Observe | None = None,
    ) -> None:
        """Make the client; nothing is sent.

        Args:
            settings: Timeouts.
            base_url: None for Anthropic's own address.
            api_key: Sent as a bearer token.
            connections: As many as calls in flight: one that waits for a connection would be taken for a failure.
            observe: Hears of every response, as soon as its headers are there.
        """
        self._silence_s = settings.silence_timeout_s
        self._observe = observe or (lambda _model, _headers: None)
        http = anthropic.DefaultAioHttpClient(
            timeout=httpx2.Timeout(settings.silence_timeout_s, connect=settings.connect_timeout_s),
            limits=httpx2.Limits(keepalive_expiry=KEEPALIVE_S),
        )
        self._sdk = anthropic.AsyncAnthropic(
            api_key=api_key.get_secret_value(),
            base_url=base_url,
            max_retries=0,  # the SDK would sleep in a worker's slot, and retry what is hopeless
            timeout=http.timeout,
            http_client=http,
            open_telemetry=False,
        )
        self._retiring = Retiring(self._sdk)
        self._wire = Wire(
            self._sdk,
            connections=connections,
            connect_timeout_s=settings.connect_timeout_s,
            pool_timeout_s=settings.silence_timeout_s,
        )

    async def ask(self, prompt: Prompt, route: Route) -> Answer:
        """Send one request and read its answer to the end. Raises `Fault`."""
        fault: Fault
        try:
            async with Patience(deadline_s=route.deadline_s, silence_s=self._silence_s) as patience:
                return await self._send(prompt, route, patience)
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
            await self._sdk.models.list(limit=1)
        except WIRE_ERRORS as error:
            fault = fault_of(error)
        if fault is not None:
            raise fault  # out here for the same reason

    async def retires_on(self, model: str) -> date | None:
        """See `tasks.ports.Claude`."""
        return await self._retiring.on(model)

    async def count_tokens(self, prompt: Prompt, route: Route) -> int:
        """Tokens of a prompt, told by Claude for free. Raises `Fault`."""
        return await counting.count_tokens(self._sdk, prompt, route)

    async def _send(self, prompt: Prompt, route: Route, patience: Patience) -> Answer:
        started = time.monotonic()
        response = await self._wire.send(Body(_said(prompt, route)))
        first_byte = time.monotonic()
        head = Head(response.status, response.headers)
        try:
            patience.heard()
            self._observe(route.model, head.headers)
            if head.status // 100 != 2:
                raise self._wire.status_error(head, await response.read())
            if route.stream:
                reply = await read_stream(events(patience.listen(response.content.iter_any())))
            else:
                reply = read_message(json.loads(await response.read()))
        except ErrorEvent as error:
            raise self._wire.status_error(head, error.said) from None
        finally:
            response.release()
        return _answer(reply, head.headers, first_byte - started, time.monotonic() - started)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. Calls still in flight fail."""
        await self._wire.close()
        await self._sdk.close()


def _said(prompt: Prompt, route: Route) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": route.model,
        "max_tokens": route.max_tokens,
        "system": prompt.system,
        "messages": messages(prompt),
        "stream": route.stream,
    }
    if prompt.output_schema is not None:
        schema = _sent_schema(json.dumps(prompt.output_schema))
        body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    if route.disable_thinking:
        body["thinking"] = {"type": "disabled"}
    return body


@lru_cache(maxsize=256)
def _sent_schema(schema: str) -> dict[str, Any]:
    """A schema as the API takes it. It costs more than writing and looking up the text, and recipes are few."""
    return anthropic.transform_schema(json.loads(schema))


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
        us_only=reply.us_only,
    )
