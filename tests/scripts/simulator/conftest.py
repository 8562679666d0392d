"""A simulator in the test's own loop, and the real SDK as its client, which refuses what does not fit its types."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from anthropic import AsyncAnthropic

from scripts.simulator.server import Simulator


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(
        api_key="any", base_url=simulator.url, max_retries=0, timeout=20, _strict_response_validation=True
    ) as client:
        yield client
