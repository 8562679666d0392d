"""A recipe and a document become a prompt.

The ledger keeps the prompt by reference: `shell_of` is the prompt with a mark in the document's place, and `render`
puts the document back. What `render` returns is what was sent.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from config.recipe import Recipe
from tasks.model.call import Prompt
from tasks.model.fault import EmptyDocument, TooLong
from tasks.model.job import Document

DOCUMENT_MARK = {"type": "docmill:document"}
"""Stands for the document's content block in a shell."""
LARGEST_REQUEST_BYTES = 32_000_000
"""The API refuses a larger body with 413."""
PDF_PAGE_CHARACTERS = 10_000
"""A page sent as it is costs about as many tokens as so much text: 1,500-3,000, and an image."""


def write_prompt(document: Document, recipe: Recipe, values: Mapping[str, str]) -> Prompt:
    """The prompt, ready to send.

    Raises `EmptyDocument` when there is nothing to ask about, `TooLong` when the request would be over 32 MB.
    """
    block = document_block(document)
    instruction = recipe.instruct(values).strip()
    system = recipe.system.strip()
    size_bytes = len(document.pdf) * 4 // 3 if document.pdf else len((document.text or "").encode())
    if size_bytes > LARGEST_REQUEST_BYTES:
        raise TooLong(f"document {document.name!r}: {size_bytes:,} bytes, a request takes {LARGEST_REQUEST_BYTES:,}")
    return Prompt(
        system=system,
        messages=_messages(block, instruction),
        shell=json.dumps(
            {
                "system": system,
                "messages": _messages(DOCUMENT_MARK, instruction),
                "output_schema": recipe.output_schema,
            },
            ensure_ascii=False,
            sort_keys=True,
        ),
        output_schema=recipe.output_schema,
        characters=_characters(document) + len(system) + len(instruction),
    )


def document_block(document: Document) -> Mapping[str, Any]:
    """The document as a content block: its text in a tag, or the PDF itself. Raises `EmptyDocument`."""
    if document.text is not None and document.text.strip():
        return {"type": "text", "text": f"<document>\n{document.text}\n</document>"}
    if document.pdf:
        data = base64.b64encode(document.pdf).decode("ascii")
        return {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": data},
        }
    raise EmptyDocument(f"document {document.name!r}: no text in it")


def render(shell: str, document: Document) -> dict[str, Any]:
    """The prompt as it was sent: system, messages and output_schema, from a stored shell and its document."""
    said: dict[str, Any] = json.loads(shell)
    block = document_block(document)
    for message in said["messages"]:
        message["content"] = [block if part == DOCUMENT_MARK else part for part in message["content"]]
    return said


def shell_hash(shell: str) -> str:
    """Name of a shell in the ledger: its SHA-256 in hex."""
    return hashlib.sha256(shell.encode()).hexdigest()


def _messages(block: Mapping[str, Any], instruction: str) -> tuple[Mapping[str, Any], ...]:
    return ({"role": "user", "content": [block, {"type": "text", "text": instruction}]},)


def _characters(document: Document) -> int:
    if document.text is not None:
        return len(document.text)
    return (document.pages or 1) * PDF_PAGE_CHARACTERS
