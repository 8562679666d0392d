"""What becomes of the messages a process holds when connections, and workers, come and go.

What runs here stays ours across a lost connection; what a dead worker held comes back. `channel` says when.
"""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING

from kombu.log import get_logger
from redis.exceptions import ResponseError

from workers.transport.foreign import Foreign
from workers.transport.held import Held

if TYPE_CHECKING:
    from workers.transport.channel import Channel

log = get_logger(__name__)

YOUNG_S = 60
"""A server that started so recently says nothing yet about who is silent."""

_left: dict[tuple[Foreign, ...], list[Held]] = {}  # by connections that were lost, until the next one takes over


class Custody:
    """Of what one channel holds."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._restore_at = monotonic() + channel.unacked_restore_interval

    def take_over(self) -> None:
        """Go on where the lost connection of this process stopped.

        What runs here stays here. What the worker dropped when the connection went, and what a claim took whose
        answer was lost, goes back to its lane.
        """
        left = _left.get(self._broker())
        if not left:
            return
        channel, held = self._channel, left.pop()
        held.channel, channel.qos.held = channel, held
        self.refresh()
        channel.qos.flush()
        running = _running_tags()
        dropped = [tag for tag in held.tags if tag not in running]
        strays = [tag for tag in channel.store.unacked() if held.is_ours(tag) and tag not in held.tags]
        channel.store.restore([*dropped, *strays])
        held.settle(dropped)
        log.info("reconnected: %d messages run on, %d went back", len(held), len(dropped) + len(strays))

    def leave(self) -> None:
        """The connection is gone: what is held is for the next channel of this process."""
        held = self._channel.qos.held
        held.channel = None
        if self._channel.lanes_consumed:
            _left.setdefault(self._broker(), []).append(held)

    def _broker(self) -> tuple[Foreign, ...]:
        channel, client = self._channel, self._channel.connection.client
        return (client.hostname, client.port, client.virtual_host, channel.global_keyprefix, channel.unacked_key)

    def refresh(self) -> None:
        """Vouch for what is held, so that nobody takes it for abandoned."""
        self._channel.store.refresh(list(self._channel.qos.held.tags))

    def restore_abandoned(self) -> None:
        """Every `unacked_restore_interval` seconds, give back what nobody has vouched for in `visibility_timeout`.

        No lock: a script moves each message, and only the first caller's does, so a worker that dies in here holds
        up nobody. A server that has just started says nothing yet: while it was away, no worker could vouch.
        """
        channel = self._channel
        if monotonic() < self._restore_at or not channel.lanes_consumed:
            return
        self._restore_at = monotonic() + channel.unacked_restore_interval
        if channel.store.uptime_s() < min(channel.visibility_timeout, YOUNG_S):
            return
        since = channel.store.now() - channel.visibility_timeout
        silent = [tag for tag in channel.store.silent_before(since) if tag not in channel.qos.held.tags]
        restored = channel.store.restore(silent, silent_since=since)
        if restored:
            log.warning("%d messages came back whose worker is silent", restored)

    def hand_back(self) -> None:
        """The channel closes in order: Redis hears every outcome, and what is left goes back to its lanes."""
        channel, held = self._channel, self._channel.qos.held
        if held.channel is not channel:
            return
        try:
            channel.qos.flush()
            channel.store.restore(list(held.tags))
            held.settle(list(held.tags))
        except (*channel.connection_errors, ResponseError) as error:
            log.warning("%d messages stay unacked until their visibility timeout: %r", len(held), error)
        held.channel = None


def _running_tags() -> set[str]:
    """Delivery tags of the tasks that Celery's worker in this process is running."""
    state = sys.modules.get("celery.worker.state")
    if state is None:
        return set()
    return {request.message.delivery_tag for request in tuple(state.active_requests) if not request.acknowledged}
