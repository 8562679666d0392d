"""The program of a parser process: documents in on stdin, what is in them out on stdout, until stdin ends.

A frame is its length in 8 bytes and as many bytes. A document is two: JSON `[media type, name]`, and the bytes. Its
reply is one: JSON `[fault, reason, text, pages]`.
"""

from __future__ import annotations

import json
import sys
from typing import IO

from workers.intake.document import Unreadable
from workers.intake.kinds import KINDS

MEMORY_BYTES = 2 * 1024 * 1024 * 1024
"""Address space of a parser process: many times what the largest real document we met takes (250 MB)."""

OUT_OF_MEMORY = 86
"""Exit status of a parser that met that bound."""

_LENGTH_BYTES = 8


def send(stream: IO[bytes], frame: bytes) -> None:
    """Write one frame. Raises `OSError` when the other side is gone."""
    stream.write(len(frame).to_bytes(_LENGTH_BYTES))
    stream.write(frame)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes | None:
    """Read one frame; None when the other side is gone."""
    prefix = stream.read(_LENGTH_BYTES)
    length = int.from_bytes(prefix)
    frame = stream.read(length)
    return frame if len(prefix) == _LENGTH_BYTES and len(frame) == length else None


def main() -> int:
    """Answer documents until stdin ends. Returns the exit status."""
    _bound_memory()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # a library that prints must not break the frames
    while (header := receive(source)) is not None and (content := receive(source)) is not None:
        media_type, name = json.loads(header)
        try:
            reply = json.dumps(_answer(media_type, name, content)).encode()
        except MemoryError:
            return OUT_OF_MEMORY  # what is left of the heap is no place for the next document
        send(sink, reply)
    return 0


def _answer(media_type: str, name: str, content: bytes) -> tuple[str | None, str | None, str | None, int | None]:
    try:
        parsed = KINDS[media_type].parse(content, name)
    except Unreadable as fault:
        return type(fault).__name__, fault.reason, None, None
    return None, None, parsed.text, parsed.pages


def _bound_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows: the deadline alone bounds it there
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    bound = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (bound, hard))
    except (OSError, ValueError):  # macOS refuses
        return


if __name__ == "__main__":
    sys.exit(main())
