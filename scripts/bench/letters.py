"""The documents the benches run: letters of about 2 kB, each its own, and what is asked of them."""

from __future__ import annotations

from config.recipe import Recipe
from tasks.model.call import Prompt
from tasks.model.job import Document
from tasks.rules.prompting import write_prompt

MODEL = "claude-haiku-4-5-20251001"
MAX_TOKENS = 500
SYSTEM = "You summarize letters."
RECIPE = Recipe(name="bench", system=SYSTEM, instruction="Summarize the letter above.", max_tokens=MAX_TOKENS)

_LINE = "The delivery of the {n}th of the month came late, and two of the boxes had been opened on the way. "


def letter(number: int) -> str:
    """Letter `number`, about 2,000 characters."""
    return f"Letter {number}\n\n" + "".join(_LINE.format(n=number + line) for line in range(20))


def prompt(number: int) -> Prompt:
    """What is asked of letter `number`: the same request whoever sends it."""
    return write_prompt(Document(hash="", name=f"letter-{number}", text=letter(number)), RECIPE, {})
