"""The transports that `setup` registers in place of kombu's."""

from __future__ import annotations

from workers.transport.channel import Channel, SentinelChannel
from workers.transport.errors import BrokerRefused
from workers.transport.foreign import Foreign, stock


class Transport(stock.Transport):  # type: ignore[misc]  # kombu's class is untyped
    """kombu's Redis transport with our channel."""

    Channel = Channel
    channel_errors = (*stock.Transport.channel_errors, BrokerRefused)
    loop: Foreign = None
    """The event loop that runs our timers; None for a consumer without one."""

    def register_with_event_loop(self, connection: Foreign, loop: Foreign) -> None:
        """As kombu, and vouch for held messages every quarter of the visibility timeout."""
        super().register_with_event_loop(connection, loop)
        self.loop = loop
        timeout_s = connection.client.transport_options.get("visibility_timeout", Channel.visibility_timeout)
        loop.call_repeatedly(timeout_s / 4, self._refresh)

    def _refresh(self) -> None:
        for channel in self.channels:
            if channel.lanes_consumed:
                channel.custody.refresh()

    def _collect(self, connection: Foreign) -> None:
        """What kombu calls, where a transport has it, in place of closing a connection that was lost."""
        while self.channels:
            self.channels.pop().lose()
        self._avail_channels.clear()
        self.cycle.close()


class SentinelTransport(Transport):
    """The same behind Redis Sentinel."""

    default_port = 26379
    Channel = SentinelChannel
