"""Channels by name: what the settings make of them, and that one that hangs holds up nothing."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import SecretStr

from config.files import BadConfig
from config.settings import Settings
from tasks.model.alert import Undelivered
from tests.workers.alerts.conftest import a_delivery, until
from tests.workers.alerts.far_side import Endpoint
from workers.alerts import Channels, LogChannel, Webhook, configured


def settings(urls: str = "", webhook: str = "") -> Settings:
    return Settings(
        alert_urls=SecretStr(urls), alert_webhook_url=SecretStr(webhook), alert_webhook_secret=SecretStr("s")
    )


def test_the_log_is_always_there_and_the_others_go_by_their_names() -> None:
    assert [channel.name for channel in configured(settings())] == ["log"]
    several = settings("ops=mailto://u:p@example.org\n chat=slack://a/b/c", "https://example.org/hook")
    assert [channel.name for channel in configured(several)] == ["log", "webhook", "ops", "chat"]


@pytest.mark.parametrize(
    ("urls", "said"),
    [
        ("mailto://u:hunter2@example.org", "address 1 has no name"),
        ("ops=json://x, chat=hunter2", "address 2 has no name or is none"),
        ("ops=json://hunter2 ops=json://y", "address 2 is called 'ops', as another channel is"),
        ("log=json://hunter2", "address 1 is called 'log'"),
        ("webhook=json://hunter2", "address 1 is called 'webhook'"),
    ],
)
def test_a_wrong_address_is_told_by_its_place_and_never_by_its_value(urls: str, said: str) -> None:
    with pytest.raises(BadConfig, match=said) as caught:
        configured(settings(urls))
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(settings(urls))


async def test_one_that_hangs_is_left_after_its_time_and_holds_up_no_other(endpoint: Endpoint) -> None:
    endpoint.statuses = [None]
    channels = Channels([LogChannel(), Webhook(endpoint.url, "s")], timeout_s=0.3)
    hanging = asyncio.ensure_future(channels.send(a_delivery("webhook")))
    await channels.send(a_delivery("log"))
    with pytest.raises(Undelivered, match=r"no answer within 0\.3 s"):
        await hanging
    with pytest.raises(Undelivered, match="still busy"):
        await channels.send(a_delivery("webhook"))
    await until(lambda: len(endpoint.requests) >= 1)
    assert len(endpoint.requests) == 1


async def test_a_channel_that_is_not_configured_here_is_told() -> None:
    with pytest.raises(Undelivered, match="no channel of this name"):
        await Channels([LogChannel()]).send(a_delivery("ops"))


async def test_what_a_channel_raises_is_told_by_its_kind_alone() -> None:
    class Broken:
        name = "broken"

        def send(self, _: object) -> None:
            raise ValueError("https://hunter2@example.org")

    with pytest.raises(Undelivered, match=r"^ValueError$"):
        await Channels([Broken()]).send(a_delivery("broken"))


@pytest.mark.parametrize(
    ("said", "shares"), [("50,80,100", (50, 80, 100)), (" 90 , 120", (90, 120)), ("0", ()), ("75", (75,))]
)
def test_thresholds_are_percentages_with_commas(said: str, shares: tuple[int, ...]) -> None:
    chosen = Settings(alert_soft_percent=said)
    assert chosen.soft_percent == shares
    assert Settings(alert_soft_percent=chosen.alert_soft_percent) == chosen, "as a worker is told it"
