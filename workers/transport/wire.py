"""Messages as they lie in Redis: reading them, marking them, and how long they have to wait.

Pure: bytes and dicts in, dicts and numbers out.
"""

from __future__ import annotations

import binascii
import math
from contextlib import suppress
from datetime import datetime
from typing import Any

from kombu.transport import virtual
from kombu.utils.json import dumps, loads
from pydantic_core import from_json

from workers.transport.errors import Malformed
from workers.transport.foreign import Foreign

Payload = dict[str, Any]
"""A message as kombu writes it: body, headers, properties, content-type, content-encoding."""

TYPED = b'"__type__"'
"""Marks a value that JSON has no form for, such as a date, the way kombu writes it."""

_BROKEN = (ValueError, TypeError, KeyError, AttributeError, LookupError, RecursionError, binascii.Error)


def decode(item: bytes) -> Payload:
    """Read an item of a lane. Raises `Malformed` for anything that is not an envelope of kombu's shape."""
    try:
        payload = _parsed(item)
    except _BROKEN as error:
        raise Malformed(f"not JSON ({type(error).__name__})") from None
    if not isinstance(payload, dict):
        raise Malformed(f"a JSON {type(payload).__name__}, not an object")
    for name in ("properties", "headers"):
        if not isinstance(payload.get(name), dict):
            raise Malformed(f"no {name}")
    if not isinstance(payload["properties"].get("delivery_info"), dict):
        raise Malformed("no delivery_info")
    return payload


def _parsed(item: bytes) -> object:
    """What kombu's `loads` says, in a third of the time and memory: messages are much alike, and share their strings.

    What this parser does not take, kombu's may.
    """
    if TYPED not in item:
        with suppress(ValueError):
            return from_json(item, cache_strings="all")
    return loads(item)


def priority_of(payload: Payload) -> int:
    """0 (most urgent) to 9; 0 where the message does not say."""
    try:
        return max(0, min(9, int(payload["properties"]["priority"])))
    except (KeyError, TypeError, ValueError):
        return 0


def redelivered(payload: Payload) -> str:
    """The message as JSON, marked as one that a worker had before, the way kombu marks it."""
    payload["headers"]["redelivered"] = True
    payload["properties"]["delivery_info"]["redelivered"] = True
    return dumps(payload)


def without_delay(payload: Payload, *, now_s: float) -> tuple[Payload, float]:
    """The message to store and the seconds it has to wait, by the clock (`now_s`, Unix time) that set its ETA.

    The stored one has no ETA: Redis does the waiting, and a worker whose clock is slow must not wait again. An ETA
    that has no time zone or cannot be read is left for the worker, which knows the app's zone and rejects the rest.
    The given message is never changed: after a lost connection kombu publishes the same one again.
    """
    headers = payload.get("headers") or {}
    try:
        eta = datetime.fromisoformat(headers["eta"])
    except (KeyError, TypeError, ValueError):
        return payload, 0
    if eta.tzinfo is None:
        return payload, 0
    delay_s = max(0.0, eta.timestamp() - now_s)
    return {**payload, "headers": {**headers, "eta": None}}, math.ceil(delay_s * 1000) / 1000


class Message(virtual.Message):
    """kombu's message, which says `Malformed` where kombu's own would end the worker."""

    def __init__(self, payload: Payload, channel: Foreign = None, **kwargs: Foreign) -> None:
        try:
            super().__init__(payload, channel=channel, **kwargs)
        except _BROKEN as error:
            raise Malformed(f"body or properties unreadable ({type(error).__name__})") from None
