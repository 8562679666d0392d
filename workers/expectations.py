"""What calls are likely to use, learned from those there were: this process's own at once, the fleet's each minute."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Self

import structlog

from config.settings import Settings
from tasks.model.call import Call, Expected
from tasks.rules.expecting import Learned, Sample
from workers.ledger import Database, LedgerError, recent_samples

SEED_CALLS = 2_000
"""Newest calls of the fleet that are looked at each time: some 20 ms of CPU."""
SEED_EVERY_S = 60.0

log = structlog.get_logger("docmill.expectations")


def whose_calls(settings: Settings) -> bool | None:
    """Whose answers tell what the next ones will be: the simulator's (True) or Claude's; None where both may."""
    return None if settings.anthropic_base_url else settings.simulated


class Expectations:
    """Meets `tasks.ports.Expectations`. Used on one loop."""

    def __init__(self) -> None:
        self._learned = Learned()

    @classmethod
    @asynccontextmanager
    async def learning(
        cls, database: Database, *, synthetic: bool | None, every_s: float = SEED_EVERY_S
    ) -> AsyncIterator[Self]:
        """Expectations that begin with the ledger's newest calls, and look at them again every `every_s` seconds.

        `synthetic` says whether the simulator's calls count, or Claude's, or both.
        """
        self = cls()
        await self._try_seed(database, synthetic)
        seeding = asyncio.create_task(self._seed_on(database, synthetic, every_s), name="expectations")
        try:
            yield self
        finally:
            seeding.cancel()
            with suppress(asyncio.CancelledError):
                await seeding

    def of(self, recipe_hash: str, model: str, characters: int, max_tokens: int, *, is_pdf: bool = False) -> Expected:
        """See `tasks.ports.Expectations`."""
        return self._learned.expect(recipe_hash, model, characters, max_tokens, is_pdf=is_pdf)

    def learn(self, recipe_hash: str, call: Call, *, is_pdf: bool = False) -> None:
        """See `tasks.ports.Expectations`."""
        used = call.usage
        if used is None:
            return
        uncached = used.input + used.cache_write_5m + used.cache_write_1h
        self._learned.add(
            Sample(
                recipe_hash,
                call.model,
                call.max_tokens,
                is_pdf,
                call.characters or 0,
                uncached,
                used.cache_read,
                used.output,
            )
        )

    async def seed(self, database: Database, *, synthetic: bool | None) -> None:
        """Learn from the ledger's newest calls. Raises `LedgerError`."""

        def read() -> Learned:
            return Learned(one.sample for one in recent_samples(database, SEED_CALLS, synthetic=synthetic))

        self._learned.renew(await asyncio.to_thread(read))

    async def _seed_on(self, database: Database, synthetic: bool | None, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            await self._try_seed(database, synthetic)

    async def _try_seed(self, database: Database, synthetic: bool | None) -> None:
        try:
            await self.seed(database, synthetic=synthetic)
        except LedgerError as error:
            log.warning("expectations.unknown", error=str(error))
