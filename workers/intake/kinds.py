"""Which kind of document some bytes are: by what is in them first, by their name second."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath

from workers.intake import html, pdf, text
from workers.intake.document import Parsed, Skipped
from workers.intake.encoding import decode, looks_binary

HEAD_BYTES = 4096
"""As much of a file as its kind is decided by."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of document that we read."""

    media_type: str
    parse: Callable[[bytes, str], Parsed]
    """From the bytes and the name to be shown in a fault. Raises `Unreadable`."""
    slow: bool = False
    """Parsed in a process of its own: it takes long, or a hostile file could take it down."""


TEXT = Kind("text/plain", text.parse)
MARKDOWN = Kind("text/markdown", text.parse)
HTML = Kind("text/html", html.parse, slow=True)
PDF = Kind("application/pdf", pdf.parse, slow=True)

KINDS = {kind.media_type: kind for kind in (TEXT, MARKDOWN, HTML, PDF)}

_BY_SUFFIX = {".htm": HTML, ".html": HTML, ".xhtml": HTML, ".markdown": MARKDOWN, ".md": MARKDOWN}

_OTHERS = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"BM", "a bitmap image"),
    (b"RIFF", "an image, sound or film"),
    (b"ID3", "a sound"),
    (b"OggS", "a sound or film"),
    (b"{\\rtf", "an RTF document"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"%!PS", "a PostScript document"),
)
_PRINTABLE = (b"BM", b"ID3", b"BZh", b"RIFF")  # signatures that a text may begin with, too

_ZIPPED = {
    ".docx": "a Word document",
    ".xlsx": "an Excel workbook",
    ".pptx": "a PowerPoint file",
    ".odt": "an OpenDocument text",
}

_HTML = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL
)


def kind_of(head: bytes, name: str) -> Kind:
    """The kind of a document that begins with `head` (`HEAD_BYTES` of it). Raises `Skipped` when we do not read it."""
    suffix = PurePath(name).suffix.lower()
    if _is_pdf(head, suffix):
        return PDF
    beginning = decode(head)
    if other := _other(head, suffix, binary=looks_binary(beginning)):
        raise Skipped(name, f"{other}; text, Markdown, HTML and PDF are read")
    if _HTML.match(beginning.removeprefix("\ufeff")):
        return HTML
    return _BY_SUFFIX.get(suffix, TEXT)


def _is_pdf(head: bytes, suffix: str) -> bool:
    """Viewers take up to a kilobyte of junk before the signature; we do where the name says PDF as well."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n\0").startswith(b"%PDF-") or (suffix == ".pdf" and b"%PDF-" in head[:1024])


def _other(head: bytes, suffix: str, *, binary: bool) -> str | None:
    """What it is, when it is nothing we read."""
    if head.startswith(b"PK\x03\x04"):
        return _ZIPPED.get(suffix, "a ZIP archive")
    for signature, what in _OTHERS:
        if head.startswith(signature) and (binary or signature not in _PRINTABLE):
            return what
    return "binary data" if binary else None
