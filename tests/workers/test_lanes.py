"""What a worker process does with stopped lanes, on a real broker."""

from __future__ import annotations

import asyncio

import redis
from celery import Celery

from scripts.stack.valkey import ValkeyServer
from tasks.model.call import Answer, Prompt, Route
from tests.values import catalogue
from workers.lanes import Lanes
from workers.limiter import Slots
from workers.transport import LaneLimits, Pauses, install

TRIED, TAKEN = "docmill.low", "docmill.high"


class Acceptance:
    """Claude accepts the key; while it is asked, somebody pauses a lane by hand."""

    def __init__(self, pauses: Pauses) -> None:
        self._pauses = pauses

    async def probe(self) -> None:
        self._pauses.pause([TAKEN], "spend nothing", by="anna")

    async def retires_on(self, model: str) -> None:
        raise NotImplementedError

    async def ask(self, prompt: Prompt, route: Route) -> Answer:
        raise NotImplementedError


async def test_an_accepted_key_takes_nobodys_pause_away(valkey: ValkeyServer) -> None:
    app = Celery("lanes", broker=valkey.url, set_as_current=False)
    install(app)
    with redis.Redis.from_url(valkey.url) as client:
        pauses = Pauses(client)
        pauses.pause([TRIED, TAKEN], "the API key is not accepted", by="worker", seconds=600, fault="Unauthorized")
        slots = Slots(LaneLimits(), catalogue())
        async with Lanes(app, [TRIED, TAKEN], Acceptance(pauses), slots, longest_pause_s=600), asyncio.timeout(10):
            while not pauses.read([TRIED])[TRIED].is_half_open:  # noqa: ASYNC110 - only Redis shows it
                await asyncio.sleep(0.02)
        pause = pauses.read([TAKEN])[TAKEN]
    assert (pause.reason, pause.by, pause.until) == ("spend nothing", "anna", None)
