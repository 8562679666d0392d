"""PDF to the text of its text layer, page by page. A scan has none and is sent to Claude as it is.

pypdf bounds what a stream may unpack to; the parser process (`parsers`) bounds time and memory as a whole.
"""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING

from workers.intake.document import MAX_BYTES, Parsed, Unreadable, checked, size_mb
from workers.intake.encoding import tidy

if TYPE_CHECKING:
    from pypdf import PdfReader

MAX_SENT_BYTES = 23 * 1000 * 1000
"""Largest PDF that is sent as it is: base64 adds a third, and the request holds at most 32 MB."""

SCAN_LETTERS = 16
"""Letters per page below which the text layer is a stamp or a page number on a scan, not the document."""


def parse(content: bytes, name: str) -> Parsed:
    """The text layer and the number of pages; text is None where there is no text layer to speak of.

    Raises `Unreadable` for a PDF that is broken, has a password, or is a scan that cannot be sent.
    """
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # its warnings quote the document
    reader = _open(content, name)
    try:
        pages = len(reader.pages)
        text = _text(reader, name) if pages else ""
    except (MemoryError, Unreadable):
        raise
    except Exception as error:  # noqa: BLE001 - pypdf raises whatever a broken file trips it over
        raise _broken(name, error) from None
    if not pages:
        raise Unreadable(name, "a PDF without pages: make it again from its source")
    if sum(map(str.isalnum, text)) >= SCAN_LETTERS * pages:
        return Parsed(checked(text, name), pages)
    if reader.is_encrypted:
        raise Unreadable(name, "an encrypted PDF without a text layer, which the API refuses: save it unencrypted")
    if len(content) > MAX_SENT_BYTES:
        sizes = f"{size_mb(len(content))}, {size_mb(MAX_SENT_BYTES)} can be sent"
        raise Unreadable(name, f"a PDF without a text layer of {sizes}: split it")
    return Parsed(None, pages)


def _open(content: bytes, name: str) -> PdfReader:
    from pypdf import PdfReader
    from pypdf.errors import FileNotDecryptedError

    try:
        reader = PdfReader(io.BytesIO(content))
        if not reader.is_encrypted or reader.decrypt(""):
            return reader
    except FileNotDecryptedError:
        pass
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - see `parse`
        raise _broken(name, error) from None
    raise Unreadable(name, "a PDF with a password: save it without one")


def _text(reader: PdfReader, name: str) -> str:
    texts: list[str] = []
    length = 0
    for page in reader.pages:
        texts.append(tidy(page.extract_text()).strip())
        length += len(texts[-1])
        if length > MAX_BYTES:
            raise Unreadable(name, f"a PDF of over {MAX_BYTES:,} characters: split it")
    return "\n\n".join(texts)


def _broken(name: str, error: Exception) -> Unreadable:
    return Unreadable(name, f"a broken PDF ({type(error).__name__}): open it in a viewer and save it again")
