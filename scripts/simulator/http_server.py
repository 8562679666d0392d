"""HTTP/1.1 on loopback, as little of it as the simulator needs, and fast.

Keep-alive, bodies with a content-length, answers whole or in chunks. What is asked and what is said is `wire`'s.
It is here because aiohttp.web alone spends twice as long on a request as the simulator does to answer it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time
from typing import NamedTuple, cast
from urllib.parse import parse_qsl, unquote

MOST_HEAD_BYTES = 64 * 1024
MOST_BODY_BYTES = 256 * 1024 * 1024  # more than the API takes, so that the API can say so
BACKLOG = 4_096
REASONS = {status.value: status.phrase for status in HTTPStatus} | {529: "Overloaded"}

log = logging.getLogger("docmill.simulator")


class HttpRequest(NamedTuple):
    """One request. Header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class BadRequest(Exception):
    """Not HTTP as spoken here; the connection is closed after saying so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


Handler = Callable[[HttpRequest, "Connection"], Awaitable[None] | None]


class Connection(asyncio.Protocol):
    """One client. Requests are handled one after the other; what comes meanwhile waits in the buffer."""

    def __init__(self, server: HttpServer) -> None:
        self.gone = asyncio.Event()
        self._server = server
        self._buffer = bytearray()
        self._head: HttpRequest | None = None
        self._body_bytes = 0
        self._task: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._chunked = False

    # What the handler calls.

    def respond(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """A whole answer."""
        self._write(_head(status, headers, f"content-length: {len(body)}\r\n") + body)

    def begin(self, headers: Mapping[str, str], *, length: int | None = None) -> None:
        """The head of a 200 whose body follows by `send`; in chunks where its `length` is not known."""
        self._chunked = length is None
        self._write(
            _head(200, headers, "transfer-encoding: chunked\r\n" if length is None else f"content-length: {length}\r\n")
        )

    async def send(self, data: bytes) -> None:
        """A piece of the body; waits while the client does not read."""
        self._write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        await self._writable.wait()

    def end(self) -> None:
        """The end of a body in chunks."""
        if self._chunked:
            self._write(b"0\r\n\r\n")

    def abort(self) -> None:
        """Cut the connection; what the system has not sent yet is lost."""
        self._transport.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """A client went; a handler that is still at work finishes."""
        self._server.connections.discard(self)
        self.gone.set()
        self._writable.set()

    def pause_writing(self) -> None:
        """The client does not read fast enough."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """More of a request."""
        self._buffer += data
        if self._task is None:
            self._handle_what_came()

    def _handle_what_came(self) -> None:
        try:
            while self._task is None and (request := self._next_request()) is not None:
                answering = self._server.handler(request, self)
                if answering is not None:
                    self._task = self._server.track(answering)
                    self._task.add_done_callback(self._answered)
        except BadRequest as error:
            self.respond(error.status, {"connection": "close"}, str(error).encode())
            self._transport.close()

    def _answered(self, task: asyncio.Future[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("simulator failed to answer", exc_info=error)
            self.abort()
        if not self.gone.is_set():
            self._handle_what_came()

    def _next_request(self) -> HttpRequest | None:
        """The next whole request in the buffer. Raises `BadRequest`."""
        if self._head is None:
            end = self._buffer.find(b"\r\n\r\n", 0, MOST_HEAD_BYTES)
            if end < 0:
                if len(self._buffer) > MOST_HEAD_BYTES:
                    raise BadRequest(431, "too long a head")
                return None
            self._head = _parse_head(bytes(self._buffer[:end]))
            self._body_bytes = _body_bytes(self._head.headers)
            del self._buffer[: end + 4]
            if "expect" in self._head.headers and len(self._buffer) < self._body_bytes:
                self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if len(self._buffer) < self._body_bytes:
            return None
        request = self._head._replace(body=bytes(self._buffer[: self._body_bytes]))
        del self._buffer[: self._body_bytes]
        self._head = None
        return request

    def _write(self, data: bytes) -> None:
        if not self.gone.is_set():
            self._transport.write(data)


class HttpServer:
    """Listens on one loopback port from `start` to `stop`."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.connections: set[Connection] = set()
        self._tasks: set[asyncio.Future[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Returns the port, which for `port` 0 is a free one. Raises `OSError` where it is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), host, port, backlog=BACKLOG)
        taken: int = self._server.sockets[0].getsockname()[1]
        return taken

    async def stop(self) -> None:
        """Stop listening, cut what is open and leave what is not finished."""
        if self._server is None:
            return
        self._server.close()
        gone = [connection.gone.wait() for connection in self.connections]
        for connection in tuple(self.connections):
            connection.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*gone)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def track(self, answering: Awaitable[None]) -> asyncio.Future[None]:
        """Run an answer that takes time; it goes on when its client has gone."""
        task = asyncio.ensure_future(answering)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _parse_head(head: bytes) -> HttpRequest:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, _, rest = first.partition(" ")
    target, _, version = rest.rpartition(" ")
    if not version.startswith("HTTP/1."):
        raise BadRequest(400, "not an HTTP/1.1 request")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    path, _, query = target.partition("?")
    return HttpRequest(method, unquote(path), dict(parse_qsl(query)) if query else {}, headers, b"")


def _body_bytes(headers: Mapping[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise BadRequest(411, "send a content-length; the simulator takes no chunked requests")
    length = headers.get("content-length", "0")
    if not length.isdecimal():
        raise BadRequest(400, "content-length is no number")
    if int(length) > MOST_BODY_BYTES:
        raise BadRequest(413, "too large a body")
    return int(length)


def _head(status: int, headers: Mapping[str, str], framing: str) -> bytes:
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    reason = REASONS.get(status, "")
    return f"HTTP/1.1 {status} {reason}\r\ndate: {_date(int(time()))}\r\n{lines}{framing}\r\n".encode("latin-1")


@lru_cache(maxsize=2)
def _date(unix_s: int) -> str:
    return formatdate(unix_s, usegmt=True)
