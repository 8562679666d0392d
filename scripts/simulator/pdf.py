"""How many pages a PDF has, and whether the API would take it. What is on them is not read."""

from __future__ import annotations

import base64
import binascii
import io
import re

from scripts.simulator.errors import ApiError

_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])")


def decode(data: str) -> bytes:
    """The bytes of a base64 source. Raises `ApiError` 400 if it is no base64 or no PDF."""
    try:
        content = base64.b64decode(data, validate=True)
    except binascii.Error:
        raise ApiError(400, "messages: source.data: Invalid base64 data") from None
    if b"%PDF-" not in content[:1024]:
        raise ApiError(400, "messages: The PDF specified was not valid.")
    return content


def pages(content: bytes) -> int:
    """Number of pages. Raises `ApiError` 400 for a PDF that is encrypted or cannot be read."""
    if b"/Encrypt" in content:
        raise ApiError(400, "messages: The PDF specified is password protected.")
    return len(_PAGE.findall(content)) or _pages_in_compressed_objects(content)


def _pages_in_compressed_objects(content: bytes) -> int:
    from pypdf import PdfReader  # only for the files that hide their page objects; it takes a while to load
    from pypdf.errors import PyPdfError

    try:
        return len(PdfReader(io.BytesIO(content)).pages)
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ApiError(400, "Could not process PDF") from None
