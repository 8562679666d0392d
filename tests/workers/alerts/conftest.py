"""Far sides, and something to tell them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from tasks.model.alert import Alert, Delivery
from tests.workers.alerts.far_side import Endpoint, MailServer, http_endpoint, mail_server


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with http_endpoint() as opened:
        yield opened


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with mail_server() as opened:
        yield opened


async def until(happened: Callable[[], bool]) -> None:
    """Wait for what the thread of an endpoint has yet to note."""
    async with asyncio.timeout(20):
        while not happened():  # noqa: ASYNC110 - nothing there sets an event
            await asyncio.sleep(0.01)


def a_delivery(channel: str = "webhook") -> Delivery:
    alert = Alert(
        "budget.soft/day//2026-11-22/80",
        "budget.soft",
        "budget of the day: $8.30 spent, 83 % of the soft limit of $10",
        "The threshold is 80 %.\nNext: docmill costs --by model",
        {"percent": 83},
    )
    return Delivery("alert-1", channel, 0, datetime(2026, 11, 22, 3, tzinfo=UTC), alert)
