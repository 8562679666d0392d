"""How many tokens a text has: four bytes to a token, and 30 % more on models with the new tokenizer.

A rule of thumb that only has to add up: the same text always has the same count, in a prompt and in an answer.
"""

from __future__ import annotations

from scripts.simulator.models import Model

BYTES_PER_TOKEN = 4
PDF_PAGE_TOKENS = 3_000  # its text and its picture
IMAGE_TOKENS = 1_500
MESSAGE_TOKENS = 4
REQUEST_TOKENS = 6


def count(text: str, model: Model) -> int:
    """Tokens of `text`; 0 for an empty one."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    return scaled(-(-size // BYTES_PER_TOKEN), model)


def scaled(tokens: int, model: Model) -> int:
    """The count of a model with the old tokenizer as `model` has it."""
    return -(-tokens * 13 // 10) if model.new_tokenizer else tokens


def clip(text: str, model: Model, most_tokens: int) -> str:
    """The longest beginning of `text` that has at most `most_tokens`, give or take a character."""
    most_bytes = (most_tokens * 10 // 13 if model.new_tokenizer else most_tokens) * BYTES_PER_TOKEN
    return text.encode("utf-8", "replace")[:most_bytes].decode("utf-8", "ignore")
