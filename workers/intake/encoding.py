"""Bytes to text. Never fails: what cannot be decoded becomes U+FFFD, so that a reader sees that something was there.

In this order: a byte order mark; valid UTF-8; UTF-16 without a mark; the encoding the document declares; UTF-8 with
some bytes damaged; Windows-1252. An undeclared East Asian encoding is not guessed.
"""

from __future__ import annotations

import codecs
import re
import unicodedata

_MARKS = (  # UTF-32 first: its little-endian mark begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_DECLARABLE = re.compile(
    r"utf-8|cp(125\d|866|874|932|949)|iso8859-\d+|koi8-[rtu]|mac-\w+|tis-620|(gb|big5|euc|iso2022)\w*"
)
"""Codecs a document may choose. Python has others, such as utf-7 and unicode_escape, that no document should."""

_SUPERSETS = {  # as browsers do: the label says the old standard, the bytes are from its Windows successor
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "shift_jis": "cp932",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
}

_ODD = re.compile("[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]")
"""Control characters without a meaning in text, and lone surrogates."""

_BINARY_SHARE = 0.1
"""Share of odd characters above which bytes are not text. Random bytes come to 0.12; text with NULs between words stays
below."""

_SAMPLE = 4096


def decode(content: bytes, declared: str | None = None) -> str:
    """The text of `content`; `declared` is the encoding the document itself names, if it does."""
    for mark, marked in _MARKS:
        if content.startswith(mark):
            return content.decode(marked, "replace")
    codec = _codec(declared)
    if codec is not None and content.isascii():  # ISO-2022 is ASCII to the eye
        return content.decode(codec, "replace")
    utf8 = _valid_utf8(content)
    if utf8 is not None and utf8.count("\0") <= len(utf8) * _BINARY_SHARE:
        return utf8
    return _utf16(content) or (utf8 if utf8 is not None else _eight_bit(content, codec))


def tidy(text: str) -> str:
    """The text as it is stored and sent.

    Lines end in LF; form feeds end a line. NULs and other control characters are dropped (PostgreSQL takes no NUL);
    lone surrogates become U+FFFD (they have no UTF-8).
    """
    text = text.removeprefix("\ufeff")
    for line_end in ("\r\n", "\r", "\f", "\v"):
        text = text.replace(line_end, "\n")
    return _ODD.sub(lambda found: "\ufffd" if found[0] >= "\ud800" else "", text) if _ODD.search(text) else text


def looks_binary(text: str) -> bool:
    """Whether decoded bytes are too full of control characters to have been text."""
    return len(_ODD.findall(text[:_SAMPLE])) > len(text[:_SAMPLE]) * _BINARY_SHARE


def _codec(label: str | None) -> str | None:
    """Python's name for a declared encoding; None when there is none that a document may use."""
    if label is None:
        return None
    try:
        name = codecs.lookup(label).name
    except (LookupError, ValueError):
        return None
    name = _SUPERSETS.get(name, name)
    return name if _DECLARABLE.fullmatch(name) else None


def _valid_utf8(content: bytes) -> str | None:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def _utf16(content: bytes) -> str | None:
    """UTF-16 without a byte order mark shows by NULs in every other byte: high halves of ASCII, blanks, line ends."""
    first, second = content[0::2].count(0), content[1::2].count(0)
    if max(first, second) < max(1, len(content) // 100) or min(first, second) * 4 > max(first, second):
        return None
    text = content.decode("utf-16-be" if first > second else "utf-16-le", "replace")
    sample = text[:_SAMPLE]
    strange = sum(unicodedata.category(letter) in {"Cn", "Co", "Cs"} for letter in sample) + sample.count("\ufffd")
    return None if looks_binary(text) or strange > 1 + len(sample) // 20 else text


def _eight_bit(content: bytes, codec: str | None) -> str:
    if codec is not None:
        return content.decode(codec, "replace")
    utf8 = content.decode("utf-8", "replace")
    damaged = utf8.count("\ufffd")
    foreign = len(utf8) - len(utf8.encode("ascii", "ignore"))
    return utf8 if damaged * 4 <= foreign else content.decode("cp1252", "replace")
