"""A recipe and a document become a prompt.

The ledger keeps the prompt by reference: `shell_of` is the prompt with a mark in the document's place, and `render`
puts the document back. What `render` returns is what was sent.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from config.recipe import Recipe
from tasks.model.call import Prompt
from tasks.model.fault import EmptyDocument, TooLong
from tasks.model.job import Document

SHELLS = 256
"""Recipes with their values that are in use at the same time, about: each shell is written and hashed once."""
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
    instruction = recipe.instruct(values).strip()
    system = recipe.system.strip()
    check_content(document)
    _check_size(document)
    return Prompt(
        system=system,
        document=document,
        instruction=instruction,
        shell=_shell(system, instruction, recipe.schema_text),
        output_schema=recipe.output_schema,
        characters=_characters(document, recipe, instruction),
    )


def messages(prompt: Prompt) -> tuple[Mapping[str, Any], ...]:
    """The conversation to send: as large as the document, so written out only then."""
    return _messages(document_block(prompt.document), prompt.instruction)


def prompt_characters(document: Document, recipe: Recipe, values: Mapping[str, str]) -> int:
    """`characters` of the prompt, without writing it."""
    return _characters(document, recipe, recipe.instruct(values).strip())


def characters_around(document_characters: int, recipe: Recipe, instruction: str) -> int:
    """`characters` of the prompt around a document of so many."""
    schema = "" if recipe.output_schema is None else recipe.schema_text
    return document_characters + length(recipe.system.strip()) + length(instruction) + length(schema)


def length(text: str) -> int:
    """Characters, as tokens go by them: one beyond ASCII counts as its bytes in UTF-8.

    English has four to a token, Russian four and Japanese two to three: counted so, they are near each other.
    """
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def document_block(document: Document) -> Mapping[str, Any]:
    """The document as a content block: its text in a tag, or the PDF itself. Raises `EmptyDocument`."""
    if has_text(document):
        return {"type": "text", "text": f"<document>\n{document.text}\n</document>"}
    check_content(document)
    data = base64.b64encode(document.pdf or b"").decode("ascii")
    return {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": data},
    }


def has_text(document: Document) -> bool:
    """Whether there is anything but white space in its text."""
    return document.text is not None and not document.text.isspace() and document.text != ""


def check_content(document: Document) -> None:
    """Raises `EmptyDocument` where there is nothing to ask about."""
    if not has_text(document) and not document.pdf:
        raise EmptyDocument(f"document {document.name!r}: no text in it")


def render(shell: str, document: Document) -> dict[str, Any]:
    """The prompt as it was sent: system, messages and output_schema, from a stored shell and its document."""
    said: dict[str, Any] = json.loads(shell)
    block = document_block(document)
    for message in said["messages"]:
        message["content"] = [block if part == DOCUMENT_MARK else part for part in message["content"]]
    return said


@lru_cache(maxsize=SHELLS)
def shell_hash(shell: str) -> str:
    """Name of a shell in the ledger: its SHA-256 in hex."""
    return hashlib.sha256(shell.encode()).hexdigest()


@lru_cache(maxsize=SHELLS)
def _shell(system: str, instruction: str, schema_text: str) -> str:
    said = {
        "system": system,
        "messages": _messages(DOCUMENT_MARK, instruction),
        "output_schema": json.loads(schema_text),
    }
    return json.dumps(said, ensure_ascii=False, sort_keys=True)


def _messages(block: Mapping[str, Any], instruction: str) -> tuple[Mapping[str, Any], ...]:
    return ({"role": "user", "content": [block, {"type": "text", "text": instruction}]},)


def _check_size(document: Document) -> None:
    size_bytes = len(document.pdf) * 4 // 3 if document.pdf else _most_bytes(document.text or "")
    if size_bytes > LARGEST_REQUEST_BYTES:
        raise TooLong(f"document {document.name!r}: {size_bytes:,} bytes, a request takes {LARGEST_REQUEST_BYTES:,}")


def _most_bytes(text: str) -> int:
    """Size in UTF-8; no less than that where it is small anyway, which is not worth encoding it."""
    most = 4 * len(text)
    return most if most <= LARGEST_REQUEST_BYTES else len(text.encode())


def _characters(document: Document, recipe: Recipe, instruction: str) -> int:
    if document.text is None:
        return characters_around((document.pages or 1) * PDF_PAGE_CHARACTERS, recipe, instruction)
    return characters_around(length(document.text), recipe, instruction)
