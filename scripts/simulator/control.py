"""`/_sim/...`: read the bill, change the behaviour, start again. Not part of the API that is simulated."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Iterable, Iterator
from itertools import islice
from typing import Any

from pydantic_core import from_json, to_json

from scripts.simulator.api import Api
from scripts.simulator.http_server import Connection, HttpRequest

LINES_AT_ONCE = 1_000


def handle(api: Api, request: HttpRequest, connection: Connection) -> Awaitable[None] | None:
    """Any request under `/_sim/`."""
    if (request.method, request.path) == ("GET", "/_sim/bill.jsonl"):
        return _bill_lines(api, connection)
    try:
        status, body = _answer(api, request)
    except ValueError as error:
        status, body = 400, {"error": str(error)}
    connection.respond(status, {"content-type": "application/json"}, to_json(body))
    return None


def _answer(api: Api, request: HttpRequest) -> tuple[int, dict[str, Any]]:
    """Status and JSON. Raises `ValueError` for a setting or a number that is none."""
    match request.method, request.path.removeprefix("/_sim/"):
        case "GET", "health":
            return 200, {"status": "ok", "synthetic": True, "requests": len(api.bill), "cpu_s": time.process_time()}
        case "GET", "bill":
            return 200, _bill(api, request)
        case "GET", "config":
            return 200, api.behaviour.as_json()
        case "POST", "config":
            api.configure(_settings(request.body))
            return 200, api.behaviour.as_json()
        case "POST", "reset":
            api.reset()
            return 200, {"status": "ok"}
        case _:
            return 404, {"error": f"{request.method} {request.path}: no such simulator page"}


def _bill(api: Api, request: HttpRequest) -> dict[str, Any]:
    """Totals, and rows: all, or `?offset=&limit=`, or none with `?totals=1`."""
    body: dict[str, Any] = {"totals": api.bill.totals()}
    if not request.query.get("totals"):
        limit = request.query.get("limit")
        rows = api.bill.rows(int(request.query.get("offset", 0)), None if limit is None else int(limit))
        body["requests"] = list(rows)
    return body


def _settings(raw: bytes) -> dict[str, Any]:
    settings = from_json(raw)
    if not isinstance(settings, dict):
        raise ValueError("give a JSON object of settings")  # noqa: TRY004 - the client's mistake, not a type of ours
    return settings


async def _bill_lines(api: Api, connection: Connection) -> None:
    """Every row as a line of JSON, sent as it is read."""
    connection.begin({"content-type": "application/jsonl"})
    for lines in _batches(to_json(row) + b"\n" for row in api.bill.rows()):
        await connection.send(lines)
    connection.end()


def _batches(lines: Iterable[bytes]) -> Iterator[bytes]:
    left = iter(lines)
    while batch := b"".join(islice(left, LINES_AT_ONCE)):
        yield batch
