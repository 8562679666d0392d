"""Sources in, documents out, in the same order: small text at once, slow kinds in parser processes beside it."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from workers.intake.document import Parsed, ReadDocument, Unreadable
from workers.intake.files import load
from workers.intake.kinds import HEAD_BYTES, TEXT, Kind, kind_of
from workers.intake.parsers import ParserPool
from workers.intake.source import Source

LOOK_AHEAD = 256
"""Documents read beyond the one that is waited for: enough to keep all parsers busy behind a long one."""

LOOK_AHEAD_BYTES = 64 * 1024 * 1024
"""Bytes of documents read beyond it. With the one in hand, this bounds our memory."""


class Taken(NamedTuple):
    """A document that was read, and where it came from."""

    source: Source
    document: ReadDocument


@dataclass(frozen=True, slots=True)
class _Parsing:
    """A document in the hands of a parser."""

    source: Source
    content: bytes
    kind: Kind
    parsed: Future[Parsed]


def read(content: bytes, name: str) -> ReadDocument:
    """Read one document in this process: no deadline, no bound on memory. `name` helps to tell its kind.

    Raises `Unreadable`: `Empty` when there is nothing in it, `Skipped` when it is of a kind we do not read.
    """
    kind = _kind(content, name)
    return _document(content, kind, kind.parse(content, name))


def read_many(
    found: Iterable[Source | Unreadable], *, processes: int | None = None
) -> Generator[Taken | Unreadable, None, None]:
    """Read what `find` found, in the same order; what could not be read, or found, stands in its place.

    Blocks while it waits for parsers. Its processes (`processes` at most; None: one for each core) start with the first
    slow document and end with the generator: exhaust it, or `close()` it.
    """
    with ParserPool(processes or os.cpu_count() or 1) as pool:
        ahead: deque[Taken | Unreadable | _Parsing] = deque()
        held_bytes = 0
        for one in found:
            ahead.append(_begin(one, pool))
            held_bytes += _size(ahead[-1])
            while ahead and (_ready(ahead[0]) or len(ahead) > LOOK_AHEAD or held_bytes > LOOK_AHEAD_BYTES):
                held_bytes -= _size(ahead[0])
                yield _finish(ahead.popleft())
        while ahead:
            yield _finish(ahead.popleft())


def _begin(one: Source | Unreadable, pool: ParserPool) -> Taken | Unreadable | _Parsing:
    if isinstance(one, Unreadable):
        return one
    try:
        content, kind = _content(one)
        if kind.slow:
            return _Parsing(one, content, kind, pool.submit(kind, content, one.name))
        return Taken(one, _document(content, kind, kind.parse(content, one.name)))
    except Unreadable as fault:
        return fault


def _content(source: Source) -> tuple[bytes, Kind]:
    match source.body:
        case Path() as path:
            return load(path, source.name)
        case bytes() as content:
            return content, _kind(content, source.name)
        case str() as text:
            return text.encode("utf-8", "replace"), TEXT


def _kind(content: bytes, name: str) -> Kind:
    return kind_of(content[:HEAD_BYTES], name)


def _ready(one: Taken | Unreadable | _Parsing) -> bool:
    return not isinstance(one, _Parsing) or one.parsed.done()


def _finish(one: Taken | Unreadable | _Parsing) -> Taken | Unreadable:
    if not isinstance(one, _Parsing):
        return one
    try:
        return Taken(one.source, _document(one.content, one.kind, one.parsed.result()))
    except Unreadable as fault:
        return fault


def _document(content: bytes, kind: Kind, parsed: Parsed) -> ReadDocument:
    return ReadDocument(hashlib.sha256(content).hexdigest(), kind.media_type, content, parsed.text, parsed.pages)


def _size(one: Taken | Unreadable | _Parsing) -> int:
    match one:
        case Taken(_, document):
            return len(document.content)
        case _Parsing():
            return len(one.content)
    return 0
