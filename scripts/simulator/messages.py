"""The answer to a request: what it says, why it stopped, how many tokens it has. Deterministic, and synthetic.

Free text begins with "[synthetic]" and is made of the document's own first words. A structured answer is a value of
the schema; there the response header is the mark. What it costs and how it is delivered is decided elsewhere.
"""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

from pydantic_core import to_json

from scripts.simulator import tokens
from scripts.simulator.faults import Fault
from scripts.simulator.requests import Request
from scripts.simulator.schema_answers import SchemaAnswer
from scripts.simulator.usage import Usage

MARK = "[synthetic]"
LEAST_WORDS, MORE_WORDS = 40, 80


class Answer(NamedTuple):
    """What the model says. `thinking` None: it did not think; empty: it thought and does not show it.

    `output_tokens` includes `thinking_tokens`. `text` None: no text block at all.
    """

    text: str | None
    output_tokens: int
    thinking: str | None = None
    thinking_tokens: int = 0
    stop_reason: str = "end_turn"
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None

    def content(self) -> list[dict[str, Any]]:
        """The content blocks, thinking first."""
        blocks: list[dict[str, Any]] = []
        if self.thinking is not None:
            blocks.append({"type": "thinking", "thinking": self.thinking, "signature": "c3ludGhldGlj"})
        if self.text is not None:
            blocks.append({"type": "text", "text": self.text, "citations": None})
        return blocks


def answer(request: Request, *, seed: int, fault: Fault | None = None) -> Answer:
    """The answer, spoiled where `fault` is a refusal, a truncation or bad output; other faults change nothing here."""
    kind = fault.kind if fault else None
    draw = zlib.crc32(request.document_key.encode(), seed & 0xFFFFFFFF)
    if kind == "refusal":
        return _refusal()
    text = _bad_output(request) if kind == "bad_output" else _text(request, draw)
    spoken = _stopped(request, _thought(request, text, draw))
    return _truncated(request, spoken) if kind == "truncated" else spoken


def message(request: Request, said: Answer, usage: Usage, message_id: str) -> dict[str, Any]:
    """The Message that carries an answer."""
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": request.model.id,
        "content": said.content(),
        "stop_reason": said.stop_reason,
        "stop_sequence": said.stop_sequence,
        "stop_details": said.stop_details,
        "container": None,
        "usage": usage.as_api(geo=request.geo),
    }


def _text(request: Request, draw: int) -> str:
    words = request.document.split(None, LEAST_WORDS + MORE_WORDS)[: LEAST_WORDS + MORE_WORDS]
    if request.schema is not None:
        return to_json(SchemaAnswer(request.schema, words, draw).value()).decode()
    if not words:
        return f"{MARK} There was no text to answer."
    if request.markers.tokens is None:
        return f"{MARK} {' '.join(words[: LEAST_WORDS + draw % MORE_WORDS])}"
    return _of_length(request, " ".join(words), request.markers.tokens)


def _of_length(request: Request, words: str, asked_tokens: int) -> str:
    least_chars = asked_tokens * tokens.BYTES_PER_TOKEN
    return tokens.clip(f"{MARK} " + f"{words} " * (least_chars // (len(words) + 1) + 1), request.model, asked_tokens)


def _bad_output(request: Request) -> str:
    if request.schema is None:
        return MARK
    return '["synthetic violation"]' if request.schema.get("type") == "object" else '{"synthetic": "violation"}'


def _refusal() -> Answer:
    explanation = "synthetic refusal, asked for by a fault of the simulator"
    return Answer(
        text=None,
        output_tokens=1,
        stop_reason="refusal",
        stop_details={"type": "refusal", "category": "general_harms", "explanation": explanation},
    )


def _thought(request: Request, text: str, draw: int) -> Answer:
    thinking = request.body.get("thinking") or {}
    kind = thinking.get("type") or ("adaptive" if request.model.thinks_by_default else "disabled")
    said = max(1, tokens.count(text, request.model))
    if kind not in {"adaptive", "enabled"}:
        return Answer(text, said)
    thought = 20 + draw % 60
    shown = "" if thinking.get("display") == "omitted" else f"{MARK} thinking about {len(request.document)} characters"
    return Answer(text, said + thought, thinking=shown, thinking_tokens=thought)


def _stopped(request: Request, said: Answer) -> Answer:
    """Cut at a stop sequence, at `max_tokens`, or at the end of the model's window."""
    found = [
        (at, stop) for stop in request.body.get("stop_sequences") or () if (at := (said.text or "").find(stop)) >= 0
    ]
    if found:
        at, stop = min(found)
        said = _shortened(request, said, (said.text or "")[:at])._replace(
            stop_reason="stop_sequence", stop_sequence=stop
        )
    room = request.model.window_tokens - request.prompt_tokens
    most = min(request.max_tokens, room)
    if said.output_tokens <= most:
        return said
    if request.max_tokens == 0:  # a prompt sent to warm the cache
        return Answer(text=None, output_tokens=0, stop_reason="max_tokens")
    reason = "max_tokens" if request.max_tokens <= room else "model_context_window_exceeded"
    return _cut(request, said, most, reason)


def _truncated(request: Request, said: Answer) -> Answer:
    return _cut(request, said, max(1, said.output_tokens // 2), "max_tokens")


def _cut(request: Request, said: Answer, most: int, reason: str) -> Answer:
    """An answer that used up `most` tokens: first on thinking, then on text."""
    thinking_tokens = min(said.thinking_tokens, most)
    text = tokens.clip(said.text or "", request.model, most - thinking_tokens)
    return said._replace(
        text=text or None,
        thinking_tokens=thinking_tokens,
        output_tokens=most,
        stop_reason=reason,
        stop_sequence=None,
    )


def _shortened(request: Request, said: Answer, text: str) -> Answer:
    return said._replace(
        text=text or None,
        output_tokens=max(1, tokens.count(text, request.model)) + said.thinking_tokens,
    )
