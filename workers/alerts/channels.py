"""The channels of this process, by name. Each sends in a thread of its own, which holds up nobody when it hangs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

import structlog

from tasks.model.alert import Delivery, Undelivered

SEND_TIMEOUT_S = 20.0
"""A mail server may take 15 s to accept a connection."""


class Channel(Protocol):
    """A way to reach a person. Its address holds secrets and stays inside."""

    @property
    def name(self) -> str:
        """What it is called in the settings."""

    def send(self, delivery: Delivery) -> None:
        """Deliver, blocking. Raises `Undelivered`."""


class LogChannel:
    """This process's log: for whoever collects logs, and where nothing else is configured."""

    name = "log"

    def send(self, delivery: Delivery) -> None:
        """One line, a warning."""
        log = structlog.get_logger("docmill.alerts")  # as logging is set up by now
        log.warning("alert", alert=delivery.alert_id, kind=delivery.alert.kind, subject=delivery.alert.subject)


class Channels:
    """Meets `tasks.ports.Channels`."""

    def __init__(self, channels: Sequence[Channel], *, timeout_s: float = SEND_TIMEOUT_S) -> None:
        """Over channels whose names differ; `timeout_s` bounds each delivery."""
        self._channels = {channel.name: channel for channel in channels}
        self._timeout_s = timeout_s
        self._under_way: dict[str, Future[None]] = {}

    @property
    def names(self) -> Sequence[str]:
        """See `tasks.ports.Channels`."""
        return list(self._channels)

    async def send(self, delivery: Delivery) -> None:
        """See `tasks.ports.Channels`. One delivery at a time for each channel."""
        channel = self._channels.get(delivery.channel)
        if channel is None:
            raise Undelivered("no channel of this name is configured where it was tried")
        before = self._under_way.get(channel.name)
        if before is not None and not before.done():
            raise Undelivered("still busy with the one before")
        self._under_way[channel.name] = sending = _begin(channel, delivery)
        try:
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(sending)), self._timeout_s)
        except TimeoutError:
            raise Undelivered(f"no answer within {self._timeout_s:g} s") from None


def _begin(channel: Channel, delivery: Delivery) -> Future[None]:
    """Send in a new thread, which does not keep a stopping process alive."""
    result: Future[None] = Future()

    def send() -> None:
        try:
            channel.send(delivery)
        except Undelivered as error:
            result.set_exception(error)
        except Exception as error:  # noqa: BLE001 - whatever a library raises may quote the address
            result.set_exception(Undelivered(type(error).__name__))
        else:
            result.set_result(None)

    threading.Thread(target=send, name=f"alert-{channel.name}", daemon=True).start()
    return result
