"""From what Claude sent to an `Answer`: a whole Message, or the events of a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from anthropic.types import Message, MessageDeltaUsage, RawMessageStreamEvent
from anthropic.types import Usage as BilledUsage

from tasks.model.call import Usage
from tasks.model.fault import Interrupted


@dataclass(slots=True)
class Reply:
    """A Message as far as it has come."""

    model: str = ""
    usage: Usage = field(default_factory=Usage)
    stop_reason: str | None = None
    refusal: str | None = None
    parts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text so far. Thinking and other blocks are not part of the answer."""
        return "".join(self.parts)


def read_message(message: object) -> Reply:
    """A plain response's body. Raises `Interrupted` for one that is no Message: a proxy's page, half a JSON."""
    # The SDK builds a Message of any JSON, and a str of what is none; only one with its usage is Claude's.
    if not isinstance(message, Message) or not isinstance(getattr(message, "usage", None), BilledUsage):
        raise Interrupted("the answer is no Message: something stands between us and Claude", status=200)
    reply = Reply()
    _begin(reply, message)
    return reply


async def read_stream(events: AsyncIterator[RawMessageStreamEvent]) -> Reply:
    """A streamed response, to its end. Raises `Interrupted` when it ends before Claude said why it stopped."""
    reply = Reply()
    stopped = False
    async for event in events:
        match event.type:
            case "content_block_delta":
                if event.delta.type == "text_delta":
                    reply.parts.append(event.delta.text)
            case "message_start":
                _begin(reply, event.message)
            case "content_block_start":
                if event.content_block.type == "text":
                    reply.parts.append(event.content_block.text)
            case "message_delta":
                reply.stop_reason = event.delta.stop_reason
                details = event.delta.stop_details
                reply.refusal = details.category if details else None
                reply.usage = _with_final_counts(reply.usage, event.usage)
            case "message_stop":
                stopped = True
            case _:
                pass
    if not stopped:
        raise Interrupted("the stream ended before the answer did", status=200)
    return reply


def _begin(reply: Reply, message: Message) -> None:
    reply.model = message.model
    reply.usage = usage_of(message.usage)
    reply.stop_reason = message.stop_reason
    reply.refusal = message.stop_details.category if message.stop_details else None
    reply.parts.extend(block.text for block in message.content if block.type == "text")


def usage_of(billed: BilledUsage) -> Usage:
    """The API's usage as counts that do not overlap. A cache write of unsaid lifetime is one of five minutes."""
    written = billed.cache_creation_input_tokens or 0
    split = billed.cache_creation
    written_1h = split.ephemeral_1h_input_tokens if split else 0
    details = billed.output_tokens_details
    return Usage(
        input=billed.input_tokens,
        cache_write_5m=max(0, written - written_1h),
        cache_write_1h=written_1h,
        cache_read=billed.cache_read_input_tokens or 0,
        output=billed.output_tokens,
        thinking=(details.thinking_tokens or 0) if details else 0,
    )


def _with_final_counts(usage: Usage, final: MessageDeltaUsage) -> Usage:
    """The end's counts are cumulative: they replace those of the start where they are given."""
    details = final.output_tokens_details
    return replace(
        usage,
        input=usage.input if final.input_tokens is None else final.input_tokens,
        cache_read=usage.cache_read if final.cache_read_input_tokens is None else final.cache_read_input_tokens,
        output=final.output_tokens,
        thinking=(details.thinking_tokens or 0) if details else usage.thinking,
    )
