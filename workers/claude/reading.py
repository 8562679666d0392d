"""From what Claude sent to a `Reply`: a whole Message, or the events of a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tasks.model.call import Usage
from tasks.model.fault import Interrupted

Json = Mapping[str, Any]
"""A parsed JSON object."""


@dataclass(slots=True)
class Reply:
    """A Message as far as it has come."""

    model: str = ""
    usage: Usage = field(default_factory=Usage)
    stop_reason: str | None = None
    refusal: str | None = None
    us_only: bool = False
    parts: list[str] = field(default_factory=list)
    ended: bool = False

    @property
    def text(self) -> str:
        """All text so far. Thinking and other blocks are not part of the answer."""
        return "".join(self.parts)


def read_message(message: object) -> Reply:
    """A plain response's body. Raises `Interrupted` for one that is no Message: a proxy's page, half a JSON."""
    reply = Reply()
    try:
        _begin(reply, message)  # type: ignore[arg-type]  # what it is, it shows when it is read
    except (AttributeError, KeyError, TypeError):
        raise _no_message() from None
    return reply


async def read_stream(events: AsyncIterator[Json]) -> Reply:
    """A streamed response, to its end. Raises `Interrupted` when it ends before Claude said why it stopped."""
    reply = Reply()
    async for event in events:
        try:
            _hear(reply, event)
        except (AttributeError, KeyError, TypeError):
            raise _no_message() from None
    if not reply.ended:
        raise Interrupted("the stream ended before the answer did", status=200)
    return reply


def _no_message() -> Interrupted:
    return Interrupted("the answer is no Message: something stands between us and Claude", status=200)


def _begin(reply: Reply, message: Json) -> None:
    reply.model = message["model"]
    reply.usage = usage_of(message["usage"])
    reply.us_only = message["usage"].get("inference_geo") == "us"
    _stop(reply, message)
    reply.parts.extend(block["text"] for block in message["content"] if block["type"] == "text")


def _hear(reply: Reply, event: Json) -> None:
    match event["type"]:
        case "content_block_delta":
            if event["delta"]["type"] == "text_delta":
                reply.parts.append(event["delta"]["text"])
        case "message_start":
            _begin(reply, event["message"])
        case "content_block_start":
            if event["content_block"]["type"] == "text":
                reply.parts.append(event["content_block"]["text"])
        case "message_delta":
            _stop(reply, event["delta"])
            reply.usage = _with_final_counts(reply.usage, event["usage"])
        case "message_stop":
            reply.ended = True
        case _:
            pass


def _stop(reply: Reply, said: Json) -> None:
    reply.stop_reason = said["stop_reason"]
    details = said.get("stop_details")
    reply.refusal = details.get("category") if details else None


def usage_of(billed: Json) -> Usage:
    """The API's usage as counts that do not overlap. A cache write of unsaid lifetime is one of five minutes."""
    written = billed.get("cache_creation_input_tokens") or 0
    written_1h = (billed.get("cache_creation") or {}).get("ephemeral_1h_input_tokens") or 0
    return Usage(
        input=billed["input_tokens"],
        cache_write_5m=max(0, written - written_1h),
        cache_write_1h=written_1h,
        cache_read=billed.get("cache_read_input_tokens") or 0,
        output=billed["output_tokens"],
        thinking=_thinking(billed) or 0,
    )


def _with_final_counts(usage: Usage, final: Json) -> Usage:
    """The end's counts are cumulative: they replace those of the start where they are given."""
    given = {
        "input": final.get("input_tokens"),
        "cache_read": final.get("cache_read_input_tokens"),
        "output": final["output_tokens"],
        "thinking": _thinking(final),
    }
    return replace(usage, **{name: count for name, count in given.items() if count is not None})


def _thinking(billed: Json) -> int | None:
    details = billed.get("output_tokens_details") or {}
    count: int | None = details.get("thinking_tokens")
    return count
