"""Counting tokens for a command that has no loop of its own: a few prompts at once, and so many in all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Self

from config.settings import Settings
from config.stack import claude_address
from tasks.model.call import Prompt, Route
from tasks.model.fault import Fault
from workers.claude.client import ClaudeClient

CONNECTIONS = 8
MOST_COUNTED = 100
"""Prompts near a boundary are large: to send more of them takes minutes, and their share is known by then."""


class TokenCounts:
    """Asks Claude; see `workers.estimating.Count`. Enter it to use it."""

    def __init__(self, settings: Settings) -> None:
        """Raises `NotConfigured` where there is neither a key nor a simulator."""
        self._settings = settings
        self._base_url, self._api_key = claude_address(settings)
        self._left = MOST_COUNTED
        self._closing = ExitStack()
        self.trouble: str | None = None
        """Why it counts no more, where Claude gave no answer."""

    def __call__(self, prompts: Sequence[tuple[Prompt, Route]]) -> list[int | None]:
        """Tokens of these; None for what could not be counted."""
        some = prompts[: max(0, self._left)] if self.trouble is None else []
        self._left -= len(some)
        counted = self._runner.run(self._count(some)) if some else []
        return [*counted, *[None] * (len(prompts) - len(some))]

    def __enter__(self) -> Self:
        self._runner = self._closing.enter_context(asyncio.Runner())
        self._client = self._runner.run(self._open())
        self._closing.callback(lambda: self._runner.run(self._client.close()))
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    async def _open(self) -> ClaudeClient:
        return ClaudeClient(self._settings, base_url=self._base_url, api_key=self._api_key, connections=CONNECTIONS)

    async def _count(self, prompts: Sequence[tuple[Prompt, Route]]) -> list[int | None]:
        return list(await asyncio.gather(*(self._one(prompt, route) for prompt, route in prompts)))

    async def _one(self, prompt: Prompt, route: Route) -> int | None:
        try:
            return await self._client.count_tokens(prompt, route)
        except Fault as fault:
            self.trouble = fault.message
            return None
