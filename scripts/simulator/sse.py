"""A Message as the events of a stream. `wire` paces and sends them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic_core import to_json

PIECE_CHARS = 32


class Frame(NamedTuple):
    """One event, ready to send. `share`: how much of the answer it carries; all frames' shares sum to 1."""

    data: bytes
    share: float = 0.0


def frame(event: dict[str, Any], share: float = 0.0) -> Frame:
    """`event: NAME` and the data, by the event's own type."""
    return Frame(b"event: %b\ndata: %b\n\n" % (event["type"].encode(), to_json(event)), share)


def frames(message: dict[str, Any]) -> Iterator[Frame]:
    """message_start, each block in pieces, message_delta with the final usage, message_stop."""
    usage = message["usage"]
    begun = {**message, "content": [], "stop_reason": None, "stop_sequence": None, "stop_details": None}
    yield frame({"type": "message_start", "message": {**begun, "usage": _usage_at_start(usage)}})
    yield frame({"type": "ping"})
    size = sum(len(block.get("text") or block.get("thinking") or "") for block in message["content"]) or 1
    for index, block in enumerate(message["content"]):
        yield from _block_frames(index, block, size)
    ending = {name: message[name] for name in ("stop_reason", "stop_sequence", "stop_details", "container")}
    counted = (
        "input_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "output_tokens",
        "output_tokens_details",
    )
    yield frame({"type": "message_delta", "delta": ending, "usage": {name: usage[name] for name in counted}})
    yield frame({"type": "message_stop"})


def _usage_at_start(usage: dict[str, Any]) -> dict[str, Any]:
    return {**usage, "output_tokens": min(1, usage["output_tokens"]), "output_tokens_details": None}


def _block_frames(index: int, block: dict[str, Any], size: int) -> Iterator[Frame]:
    kind = block["type"]
    begun = {**block, kind: ""} | ({"signature": ""} if kind == "thinking" else {})
    yield frame({"type": "content_block_start", "index": index, "content_block": begun})
    text = block[kind]
    for start in range(0, len(text), PIECE_CHARS):
        piece = text[start : start + PIECE_CHARS]
        yield frame(_delta(index, {"type": f"{kind}_delta", kind: piece}), len(piece) / size)
    if kind == "thinking":
        yield frame(_delta(index, {"type": "signature_delta", "signature": block["signature"]}))
    yield frame({"type": "content_block_stop", "index": index})


def _delta(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}
