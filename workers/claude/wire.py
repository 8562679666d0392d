"""One request to the Messages API, sent as the SDK sends it: its address, headers, transport and exceptions.

`messages.create` works all of this out anew for each call, and builds models of request and response that nobody here
reads: two thirds of a call's CPU. Here it is asked of the SDK once; bodies go out and come back as plain JSON.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import anthropic
import httpx2

from workers.claude.reading import Json


class Wire:
    """Sends requests through an SDK client's own HTTP client. Made inside the loop that will use it."""

    def __init__(self, sdk: anthropic.AsyncAnthropic, http: httpx2.AsyncClient) -> None:
        headers = httpx2.Headers()
        for name, value in sdk.default_headers.items():
            if isinstance(value, str):
                headers[name] = value  # and not all at once: a later one takes the place of one spelled otherwise
        self._http = http
        self._pattern = http.build_request("POST", sdk.base_url.join("v1/messages"), headers=headers)
        del self._pattern.headers["content-length"]

    async def send(self, body: Json) -> httpx2.Response:
        """The response, of whatever status, as soon as its headers are there: read it, and close it.

        Raises `APIConnectionError`, of which `APITimeoutError` is one.
        """
        pattern = self._pattern
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        # As a stream, or the headers would be looked through and built once more for what the pattern has already.
        request = httpx2.Request(
            "POST",
            pattern.url,
            headers=pattern.headers,
            stream=httpx2.ByteStream(content),
            extensions=pattern.extensions,
        )
        request.headers["content-length"] = str(len(content))
        request.read()
        try:
            return await self._http.send(request, stream=True)
        except httpx2.TimeoutException as error:
            raise anthropic.APITimeoutError(request=request) from error
        except Exception as error:
            raise anthropic.APIConnectionError(request=request) from error


async def whole(pieces: AsyncIterator[bytes]) -> bytes:
    """A body, to its end."""
    return b"".join([piece async for piece in pieces])


async def events(response: httpx2.Response, pieces: AsyncIterator[bytes]) -> AsyncIterator[Json]:
    """The events of a streamed response; the API puts one on a line. Raises `APIStatusError` for an error."""
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                event = json.loads(line[5:])
                if isinstance(event, dict) and event.get("type") == "error":
                    raise status_error(response, event)
                yield event


def status_error(response: httpx2.Response, said: bytes | Json) -> anthropic.APIStatusError:
    """The SDK's exception for an error: a response's whole body, or an event in the midst of a stream."""
    body: object = said
    if isinstance(said, bytes):
        try:
            body = json.loads(said)
        except ValueError:  # a proxy's page
            body = None
    return anthropic.APIStatusError(f"Error code: {response.status_code}", response=response, body=body)
