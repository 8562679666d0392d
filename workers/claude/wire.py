"""One request to the Messages API, as the SDK would send it: its address, its headers, its exceptions.

`messages.create` works all of this out anew for each call, and builds models of request and response that nobody here
reads: two thirds of a call's CPU. Here it is asked of the SDK once, and plain JSON goes out and comes back over
aiohttp, which is also what the SDK's own client would use below.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple
from urllib.request import getproxies, proxy_bypass

import aiohttp
import anthropic
import httpx2
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict
from pydantic_core import to_json
from yarl import URL

from workers.claude.reading import Json

KEEPALIVE_S = 5.0
"""Below the server's own limit: a request on a connection it has just closed fails, and is not sent again."""


class Head(NamedTuple):
    """What a response begins with."""

    status: int
    headers: Mapping[str, str]
    """By name in any case."""


class Body(aiohttp.Payload):
    """A request's body, let go once it is written: its call may wait for long, and its document may be large."""

    _autoclose = True

    def __init__(self, said: Json) -> None:
        self._content = to_json(said)  # a quarter of the time that the standard library takes
        self._size = len(self._content)
        super().__init__(None, content_type="application/json")

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """What is still to be written."""
        return self._content.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write it, once."""
        content, self._content, self._consumed = self._content, b"", True
        await writer.write(content)


class Wire:
    """Connections to the Messages API. Made inside the loop that will use it, and closed there."""

    def __init__(
        self, sdk: anthropic.AsyncAnthropic, *, connections: int, connect_timeout_s: float, pool_timeout_s: float
    ) -> None:
        """Open the session; nothing is sent.

        Args:
            sdk: Whose address and headers are used, the key among them.
            connections: At once.
            connect_timeout_s: For a new connection.
            pool_timeout_s: For a free one, should all be in use. Reading has no limit here: `Patience` keeps it, and
                knows a stopped process from a silent server.
        """
        address = sdk.base_url.join("v1/messages")
        headers = httpx2.Headers()
        for name, value in sdk.default_headers.items():
            if isinstance(value, str):
                headers[name] = value  # and not all at once: a later one takes the place of one spelled otherwise
        self._pattern = httpx2.Request("POST", address, headers=headers)
        self._url = URL(str(address), encoded=True)
        self._proxy = environment_proxy(self._url)
        self._headers = CIMultiDict(headers)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections,
                keepalive_timeout=KEEPALIVE_S,
                ssl=httpx2.create_ssl_context() if self._url.scheme == "https" else True,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=pool_timeout_s, sock_connect=connect_timeout_s),
        )

    async def send(self, body: Body) -> aiohttp.ClientResponse:
        """The response, of whatever status, as soon as its headers are there: read it, and release it.

        Raises `APIConnectionError`, of which `APITimeoutError` is one.
        """
        try:
            return await self._session.post(
                self._url,
                data=body,
                headers=self._headers,  # not the session's: those a proxy is told as well, and the key is among them
                allow_redirects=False,
                proxy=self._proxy,
            )
        except TimeoutError as error:
            raise anthropic.APITimeoutError(request=self._pattern) from error
        except Exception as error:
            raise anthropic.APIConnectionError(request=self._pattern) from error

    def status_error(self, head: Head, said: bytes | Json) -> anthropic.APIStatusError:
        """The SDK's exception for an error: a response's whole body, or an event in the midst of a stream."""
        body: object = said
        if isinstance(said, bytes):
            try:
                body = json.loads(said)
            except ValueError:  # a proxy's page
                body = None
        response = httpx2.Response(head.status, headers=list(head.headers.items()), request=self._pattern)
        return anthropic.APIStatusError(f"Error code: {head.status}", response=response, body=body)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


def environment_proxy(url: URL) -> URL | None:
    """The proxy that HTTPS_PROXY and its like name for an address, as the SDK goes by them, with its login if any.

    Looked up once: aiohttp would do so for each request, in a thread.
    """
    named = getproxies()
    found = named.get(url.scheme) or named.get("all")
    if not found or proxy_bypass(url.host or ""):
        return None
    return URL(found if "://" in found else f"http://{found}")


class ErrorEvent(Exception):
    """An error in the midst of a stream. `said` is the event."""

    def __init__(self, said: Json) -> None:
        super().__init__("the stream says that the call has failed")
        self.said = said


async def events(pieces: AsyncIterator[bytes]) -> AsyncIterator[Json]:
    """The events of a streamed response; the API puts one on a line. Raises `ErrorEvent`."""
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                event = json.loads(line[5:])
                if isinstance(event, dict) and event.get("type") == "error":
                    raise ErrorEvent(event)
                yield event
