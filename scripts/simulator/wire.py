"""Requests to answers: routes, headers, and answers delivered well or badly.

`api` decides what a request gets. Here it is sent, in its time and with the fault it was given, and the bill is told
how that ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from pydantic_core import to_json

from scripts.simulator import control
from scripts.simulator.api import Api, Reply, authorise, model_info, model_page
from scripts.simulator.errors import ApiError, html_page
from scripts.simulator.http_server import Connection, HttpRequest
from scripts.simulator.sse import Frame, frame, frames

MARK_HEADERS = {"docmill-simulator": "1", "anthropic-organization-id": "00000000-0000-4000-8000-000000000000"}
JSON, HTML, EVENTS = "application/json", "text/html", "text/event-stream"
TRICKLE_S = 0.1
FLUSH_S = 0.02  # a cut comes after what was written before it has left


class Wire:
    """Handles every request of one simulator."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def handle(self, request: HttpRequest, connection: Connection) -> Awaitable[None] | None:
        """Answer at once, or return what will."""
        if request.path == "/v1/messages" and request.method == "POST":
            return self._message(request, connection)
        if request.path.startswith("/_sim/"):
            return control.handle(self._api, request, connection)
        request_id = f"req_sim{self._api.bill.run}x{time.monotonic_ns():x}"
        headers = _headers(request_id)
        try:
            connection.respond(200, _typed(headers, JSON), to_json(self._free(request)))
        except ApiError as error:
            _respond_error(connection, error, headers, request_id)
        return None

    def _free(self, request: HttpRequest) -> object:
        """What is neither billed nor logged. Raises `ApiError`."""
        match request.method, request.path.strip("/").split("/"):
            case "POST", ["v1", "messages", "count_tokens"]:
                return self._api.count(request.body, request.headers)
            case "GET", ["v1", "models"]:
                authorise(request.headers)
                return model_page(request.query)
            case "GET", ["v1", "models", name]:
                authorise(request.headers)
                return model_info(name)
            case _:
                raise ApiError(404, f"Not found: {request.method} {request.path}")

    def _message(self, request: HttpRequest, connection: Connection) -> Awaitable[None] | None:
        bill, now = self._api.bill, time.time()
        row = bill.open(now)
        request_id = bill.request_id(row)
        reply = self._api.decide(request.body, request.headers, row=row, now=now)
        delivery = _Delivery(self._api, connection, reply, row, _headers(request_id, reply.headers))
        if isinstance(reply.body, ApiError):
            delivery.close(f"error:{reply.body.status}", charged=False)
            _respond_error(connection, reply.body, delivery.headers, request_id)
            return None
        if reply.at_once:
            delivery.whole(reply.body)
            return None
        return delivery.slowly(reply.body)


class _Delivery:
    """One Message on its way out; closes its row in the bill exactly once.

    It is closed before the last byte leaves, because a client that has the answer may ask for the bill.
    """

    def __init__(self, api: Api, connection: Connection, reply: Reply, row: int, headers: dict[str, str]) -> None:
        self.headers = headers
        self._bill = api.bill
        self._run = api.bill.run
        self._connection = connection
        self._reply = reply
        self._row = row

    def whole(self, message: dict[str, Any]) -> None:
        """The Message as one JSON body."""
        self.close("delivered")
        self._connection.respond(200, _typed(self.headers, JSON), to_json(message))

    async def slowly(self, message: dict[str, Any]) -> None:
        """Any other way: after a wait, as a stream, or spoiled."""
        if self._reply.delivery == "hang":
            await self._connection.gone.wait()
            self.close("hang")
            return
        await asyncio.sleep(self._reply.first_byte_s)
        if self._reply.stream:
            await self._stream(message)
        else:
            await self._plain(message)

    def close(self, outcome: str, *, charged: bool = True) -> None:
        """Tell the bill how it ended."""
        error = self._reply.body if isinstance(self._reply.body, ApiError) else None
        self._bill.close(
            self._row,
            self._run,
            now=time.time(),
            outcome="client_gone" if self._connection.gone.is_set() and not error else outcome,
            charged=charged,
            retry_after_s=error.retry_after_s if error else None,
            **self._reply.charge,
        )

    async def _plain(self, message: dict[str, Any]) -> None:
        await asyncio.sleep(self._reply.speaking_s)
        match self._reply.delivery:
            case "html200" | "badjson":
                body = to_json(message)
                self._spoiled(JSON, body[: len(body) // 2])
            case "cut" | "silent_end":
                body = to_json(message)
                await self._cut(JSON, body[: len(body) // 2], length=len(body))
            case "trickle":
                await self._trickle(JSON, to_json(message))
            case _:
                self.whole(message)

    async def _stream(self, message: dict[str, Any]) -> None:
        parts = list(frames(message))
        half = parts[: len(parts) // 2]
        match self._reply.delivery:
            case "html200" | "badjson":
                self._spoiled(EVENTS, parts[0].data.replace(b"data: {", b"data: {{"))
            case "cut":
                await self._cut(EVENTS, b"".join(part.data for part in half))
            case "trickle":
                await self._trickle(EVENTS, b"".join(part.data for part in parts))
            case "silent_end":
                await self._events(parts[:-2], "silent_end")
            case "error_event":
                overloaded = frame(ApiError(529, "Overloaded").event())
                await self._events([*half, overloaded], "error:event", charged=False)
            case _:
                await self._events(parts, "delivered")

    async def _events(self, parts: Sequence[Frame], outcome: str, *, charged: bool = True) -> None:
        self._connection.begin(_typed(self.headers, EVENTS))
        if self._reply.speaking_s > 0:
            for part in parts[:-1]:
                await self._connection.send(part.data)
                await asyncio.sleep(part.share * self._reply.speaking_s)
        else:
            await self._connection.send(b"".join(part.data for part in parts[:-1]))
        self.close(outcome, charged=charged)
        await self._connection.send(parts[-1].data)
        self._connection.end()

    async def _cut(self, content_type: str, beginning: bytes, *, length: int | None = None) -> None:
        self._connection.begin(_typed(self.headers, content_type), length=length)
        await self._connection.send(beginning)
        await asyncio.sleep(FLUSH_S)
        self.close("cut")
        self._connection.abort()

    async def _trickle(self, content_type: str, body: bytes) -> None:
        self._connection.begin(_typed(self.headers, content_type), length=len(body))
        for byte in body[:-1]:
            if self._connection.gone.is_set():
                break
            await self._connection.send(bytes((byte,)))
            await asyncio.sleep(TRICKLE_S)
        self.close("delivered")
        await self._connection.send(body[-1:])

    def _spoiled(self, content_type: str, broken: bytes) -> None:
        kind = self._reply.delivery or ""
        self.close(kind)
        if kind == "html200":
            content_type, broken = HTML, html_page(200)
        self._connection.respond(200, _typed(self.headers, content_type), broken)


def _headers(request_id: str, more: Mapping[str, str] | None = None) -> dict[str, str]:
    return {"request-id": request_id, **MARK_HEADERS, **(more or {})}


def _typed(headers: Mapping[str, str], content_type: str) -> dict[str, str]:
    return {**headers, "content-type": content_type}


def _respond_error(connection: Connection, error: ApiError, headers: Mapping[str, str], request_id: str) -> None:
    typed = _typed(headers, HTML if error.html else JSON)
    if error.retry_after_s is not None:
        typed["retry-after"] = f"{error.retry_after_s:g}"
    connection.respond(error.status, typed, error.body(request_id))
