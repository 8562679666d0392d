"""The fleet's place in Claude's rate limits."""

from __future__ import annotations

from tasks.model.call import Expected, Usage


class Limiter:
    """Meets `tasks.ports.Limiter`."""

    async def admit(self, token: str, model: str, expected: Expected) -> None:
        """See `tasks.ports.Limiter`."""

    def settle(self, token: str, usage: Usage | None) -> None:
        """See `tasks.ports.Limiter`."""

    def release(self, token: str) -> None:
        """See `tasks.ports.Limiter`."""
