"""A request as the simulator understands it: what it asks, how long its prompt is, which document it carries."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from scripts.simulator import pdf, tokens
from scripts.simulator.checking import check_count, check_message
from scripts.simulator.errors import ApiError
from scripts.simulator.faults import Markers, read_markers, without_markers
from scripts.simulator.models import BY_NAME, Model
from scripts.simulator.prompt_cache import Block
from scripts.simulator.rules import MAX_BREAKPOINTS, check_rules, model_of

NO_DEFAULTS: Mapping[str, Any] = MappingProxyType({})
MAX_BODY_BYTES = 32 * 1024 * 1024
_RAW_MARKER = re.compile(rb"\{\{sim:[^}]*\}\}")
_TAGGED = re.compile(r"<document\b[^>]*>(.*?)</document>", re.DOTALL)


class Request(NamedTuple):
    """A request that the API would answer.

    `blocks` make up the prompt in cache order; `prompt_tokens` is their sum and a little for each message.
    `document` is what the answer is made of, without markers. `max_tokens` is 0 for count_tokens.
    """

    body: Mapping[str, Any]
    model: Model
    blocks: Sequence[Block]
    prompt_tokens: int
    document: str
    document_key: str
    markers: Markers

    @property
    def stream(self) -> bool:
        """Whether the answer is to be a stream of events."""
        return bool(self.body.get("stream"))

    @property
    def max_tokens(self) -> int:
        """Most tokens the answer may have."""
        return int(self.body.get("max_tokens", 0))

    @property
    def schema(self) -> Mapping[str, Any] | None:
        """What a structured answer must be valid under; None for free text."""
        form = (self.body.get("output_config") or {}).get("format")
        return form["schema"] if form else None

    @property
    def geo(self) -> str:
        """Where the inference runs, as `usage` says it."""
        return (self.body.get("inference_geo") or "global") if self.model.takes_geo else "not_available"

    @property
    def document_id(self) -> str:
        """What tells this document from others: its name where it has one, else its key."""
        return self.markers.document or self.document_key


def read_message(raw: bytes, defaults: Mapping[str, Any] = NO_DEFAULTS) -> Request:
    """Read a body for /v1/messages. Raises `ApiError` for anything the API would not take.

    `defaults` are for what the body leaves out; an `inference_geo` only for models that take one.
    """
    body = _parse(raw)
    if defaults:
        body = _with_defaults(body, defaults)
    check_message(body)
    return _read(body)


def read_count(raw: bytes) -> Request:
    """Read a body for /v1/messages/count_tokens. Raises `ApiError` for anything the API would not take."""
    body = _parse(raw)
    check_count(body)
    return _read(body)


def document_key(content: str | Sequence[Any]) -> str:
    """16 hex digits for the content of a message: sha256 of the string, or of its blocks as compact sorted JSON."""
    text = content.encode("utf-8", "replace") if isinstance(content, str) else _sorted_json(content)
    return hashlib.sha256(text).hexdigest()[:16]


def _with_defaults(body: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    model = BY_NAME.get(str(body.get("model")))
    left_out = {} if model is None or model.takes_geo else {"inference_geo": None}
    return {**defaults, **left_out, **body}


def _parse(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_BODY_BYTES:
        raise ApiError(413, "Request exceeds the maximum size")
    try:
        body = from_json(raw)
    except ValueError:
        raise ApiError(400, "The request body is not valid JSON") from None
    if not isinstance(body, dict):
        raise ApiError(400, "The request body must be a JSON object")
    return body


def _read(body: dict[str, Any]) -> Request:
    model = model_of(body)
    check_rules(body, model)
    reading = _Reading(model)
    blocks = reading.blocks(body)
    prompt_tokens = tokens.REQUEST_TOKENS + sum(block.tokens for block in blocks)
    if prompt_tokens > model.window_tokens:
        raise ApiError(400, f"prompt is too long: {prompt_tokens} tokens > {model.window_tokens} maximum")
    last = next((m["content"] for m in reversed(body["messages"]) if m["role"] == "user"), "")
    texts = reading.texts(last)
    return Request(
        body=body,
        model=model,
        blocks=blocks,
        prompt_tokens=prompt_tokens,
        document=without_markers(_document(texts)),
        document_key=document_key(last),
        markers=read_markers("\n".join(texts)),
    )


class _Reading:
    """One pass over a body; PDFs are decoded once."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._pdf_texts: dict[str, str] = {}
        self._pages = 0

    def blocks(self, body: Mapping[str, Any]) -> list[Block]:
        """The prompt in cache order. Raises `ApiError` 400 for a PDF or a cache mark that is not taken."""
        tools = [self._block(tool) for tool in body.get("tools") or ()]
        blocks = [*tools, *self._content(body.get("system") or ())]
        for message in body["messages"]:
            content = self._content(message["content"])
            if content:
                content[0] = content[0]._replace(tokens=content[0].tokens + tokens.MESSAGE_TOKENS)
            blocks += content
        if form := (body.get("output_config") or {}).get("format"):
            blocks.insert(0, self._block(form["schema"]))  # first, because another format makes another prefix
        if automatic := body.get("cache_control"):
            blocks[-1] = blocks[-1]._replace(ttl=automatic.get("ttl", "5m"))
        if (marked := sum(block.ttl is not None for block in blocks)) > MAX_BREAKPOINTS:
            raise ApiError(
                400, f"A maximum of {MAX_BREAKPOINTS} blocks with cache_control may be provided. Found {marked}."
            )
        return blocks

    def texts(self, content: str | Sequence[Mapping[str, Any]]) -> list[str]:
        """The pieces of text in a message's content, PDFs as a sentence about them."""
        if isinstance(content, str):
            return [content]
        return [text for block in content for text in self._block_texts(block)]

    def _content(self, content: str | Sequence[Mapping[str, Any]]) -> list[Block]:
        if isinstance(content, str):
            return [Block(content, tokens.count(content, self._model))]
        return [self._block(block) for block in content]

    def _block(self, block: Mapping[str, Any]) -> Block:
        mark = block.get("cache_control")
        ttl = mark.get("ttl", "5m") if mark else None
        match block:
            case {"type": "text", "text": str(text)}:
                return Block(text, tokens.count(text, self._model), ttl)
            case {"type": "document", "source": {"type": "base64", "data": data}}:
                return Block(data, self._pdf_tokens(data), ttl)
            case {"type": "document", "source": {"type": "url" | "file"}}:
                raise ApiError(
                    400, "messages: source: the simulator has no files and fetches none; send base64 or text"
                )
            case {"type": "image"}:
                return Block(_compact(block), tokens.scaled(tokens.IMAGE_TOKENS, self._model), ttl)
            case _:
                text = _compact({key: value for key, value in block.items() if key != "cache_control"})
                return Block(text, tokens.count(text, self._model), ttl)

    def _pdf_tokens(self, data: str) -> int:
        content = pdf.decode(data)
        pages = pdf.pages(content)
        self._pages += pages
        if self._pages > self._model.pdf_pages:
            raise ApiError(400, f"A maximum of {self._model.pdf_pages} PDF pages may be provided.")
        markers = b" ".join(_RAW_MARKER.findall(content)).decode("latin-1")
        self._pdf_texts[data] = f"A PDF document of {pages} pages and {len(content):,} bytes. {markers}"
        return tokens.scaled(pages * tokens.PDF_PAGE_TOKENS, self._model)

    def _block_texts(self, block: Mapping[str, Any]) -> list[str]:
        match block:
            case {"type": "text", "text": str(text)}:
                return [text]
            case {"type": "document", "source": {"type": "text", "data": str(text)}}:
                return [text]
            case {"type": "document", "source": {"type": "base64", "data": data}}:
                return [self._pdf_texts[data]]
            case {"type": "document", "source": {"type": "content", "content": content}}:
                return self.texts(content)
            case _:
                return []


def _document(texts: Sequence[str]) -> str:
    """What is between document tags, else the longest piece of text."""
    longest = max(texts, key=len, default="")
    tagged = _TAGGED.search(longest) if "<document" in longest else None
    return tagged[1] if tagged else longest


def _compact(value: object) -> str:
    return to_json(value).decode()


def _sorted_json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
