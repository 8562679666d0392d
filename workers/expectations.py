"""What calls are likely to use, learned from those there were."""

from __future__ import annotations

from tasks.model.call import Call, Expected
from tasks.rules.pricing import CHARACTERS_PER_TOKEN


class Expectations:
    """Meets `tasks.ports.Expectations`."""

    def of(self, recipe_hash: str, model: str, characters: int, max_tokens: int) -> Expected:
        """See `tasks.ports.Expectations`."""
        return Expected(input=int(characters / CHARACTERS_PER_TOKEN) + 1, output=max_tokens, most_output=max_tokens)

    def learn(self, recipe_hash: str, call: Call) -> None:
        """See `tasks.ports.Expectations`."""
