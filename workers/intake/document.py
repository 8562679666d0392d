"""What reading a file comes to: a `ReadDocument`, or an `Unreadable` that says why not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

MAX_BYTES = 32 * 1024 * 1024
"""Largest file, and longest text in characters. The API takes 32 MB per request, so nothing larger is one document."""

_BLANKS = "\ufeff\u200b\u2060"  # byte order mark, zero-width space, word joiner: `str.strip` keeps them


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """A file's bytes and what Claude is asked about."""

    hash: str
    """SHA-256 of `content`, in hex."""
    media_type: str
    content: bytes = field(repr=False)
    """The bytes as they were submitted."""
    text: str | None = field(repr=False)
    """None for a PDF without a text layer: `content` is sent as it is."""
    pages: int | None = None
    """Of a PDF."""


class Parsed(NamedTuple):
    """What a kind's `parse` makes of the bytes; see `ReadDocument` for the fields."""

    text: str | None
    pages: int | None = None


class Unreadable(Exception):
    """A document that was asked for and cannot be read. `str()` is one line for a person; it quotes no text."""

    def __init__(self, name: str, reason: str) -> None:
        """`name` as `shown` gives it; `reason` tells the value and the way out."""
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class Empty(Unreadable):
    """Nothing in it but blanks."""


class Skipped(Unreadable):
    """Left out on purpose: not a kind of thing we read. Worth a note, not an error."""


def shown(name: str) -> str:
    """A file name on one line of printable Unicode: other characters, and odd bytes, become backslash escapes."""
    if name.isprintable():
        return name
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in name)


def _escaped(letter: str) -> str:
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # Python's stand-in for a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode("ascii")


def size_mb(length: int) -> str:
    """A length in bytes as people write it."""
    return f"{length / 1024 / 1024:,.1f} MB"


def checked(text: str, name: str) -> str:
    """The text, if there is something in it and it is not too long. Raises `Empty` or `Unreadable`."""
    if not text.strip().strip(_BLANKS).strip():
        raise Empty(name, "nothing in it but blanks: give a document with text")
    if len(text) > MAX_BYTES:
        raise Unreadable(name, f"{len(text):,} characters of text, {MAX_BYTES:,} are taken: split it")
    return text
