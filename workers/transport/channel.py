"""kombu's Redis channel with the parts mended that lose, repeat or hold up messages.

A worker claims as many messages as it has room for in one atomic step, and takes nothing while it waits for some.
What no worker can read goes to quarantine. Sending is in `publishing`, the request for messages in `claiming`, acks
in `qos`, and what happens to held messages across lost connections in `custody`.
"""

from __future__ import annotations

from time import monotonic

from redis.exceptions import ResponseError

from workers.transport.claiming import Claiming
from workers.transport.custody import Custody
from workers.transport.errors import Malformed
from workers.transport.foreign import Foreign, stock
from workers.transport.held import Rejection
from workers.transport.lanes import LaneLimits
from workers.transport.publishing import PublishingChannel
from workers.transport.qos import QoS
from workers.transport.store import Claim
from workers.transport.wire import Message, Payload, decode


class Channel(PublishingChannel):
    """See the module's docstring. Options beside kombu's: `lane_limits`, a dict or `LaneLimits`."""

    QoS = QoS
    Message = Message
    closed: bool
    lane_limits: LaneLimits | dict[str, int] | None = None
    from_transport_options = (*stock.Channel.from_transport_options, "lane_limits")

    def __init__(self, connection: Foreign, **kwargs: Foreign) -> None:
        self.lanes_consumed: set[str] = set()
        self._no_ack_lanes: set[str] = set()
        super().__init__(connection, **kwargs)
        self.limits = self.lane_limits if isinstance(self.lane_limits, LaneLimits) else LaneLimits(self.lane_limits)
        self.claiming = Claiming(self.limits)
        self.custody = Custody(self)

    def loop(self) -> Foreign | None:
        """The event loop that runs our timers; None for a consumer without one, or after the connection."""
        return self.connection.loop if self.connection is not None else None

    def has_consumers(self) -> bool:
        """Whether anybody consumes here."""
        return bool(self._consumers)

    def is_claiming(self) -> bool:
        """Whether a claim is under way, so that what it brings is ours already."""
        return self.claiming.claim is not None

    def own_bell(self) -> str:
        """The wake key that only this process waits for: a full lane has room again."""
        return self.keys.wake(self.qos.held.owner)

    def basic_consume(self, queue: str, no_ack: bool, *args: Foreign, **kwargs: Foreign) -> Foreign:
        """Consume; the first acked lane of a new connection takes over what the lost one held."""
        if no_ack:
            self._no_ack_lanes.add(queue)
        elif queue not in self._fanout_queues:
            if not self.lanes_consumed:
                self.custody.take_over()
            self.lanes_consumed.add(queue)
        return super().basic_consume(queue, no_ack, *args, **kwargs)

    def basic_get(self, queue: str, no_ack: bool = False, **kwargs: Foreign) -> Foreign | None:
        """One message of `queue` now, or None."""
        claim = Claim(self.qos.held.next_ticket(), 1, [queue], [1])
        for tag, _, item in self._held_from_now(claim.taken(self.store.claim(claim))):
            try:
                message = Message(_tagged(item, tag), channel=self)
            except Malformed as fault:
                self.qos.quarantine(tag, str(fault))
                continue
            if no_ack:
                self.qos.ack(tag)
            return message
        return None

    def _brpop_start(self, timeout: float | None = None) -> None:
        """Ask for messages: at once if there may be some, else when a wake key says so or the next one is due."""
        if not self.lanes_consumed:
            super()._brpop_start(timeout)
            return
        lanes = self._queue_cycle.consume(len(self.active_queues))
        in_turn = self.queue_order_strategy == "round_robin"
        claim = self.claiming.plan(lanes, self.qos.held, self.qos.credit(), in_turn=in_turn)
        if claim is None:
            return
        longest_s = timeout or self.brpop_timeout or 1
        commands = self.claiming.begin(claim, self.store, self.own_bell(), longest_s=longest_s)
        connection = self._in_poll = self.client.connection
        self._brpop_sent_at = monotonic()
        connection.send_packed_command(connection.pack_commands(commands))

    def _brpop_read(self, **options: Foreign) -> bool:
        """Hand over what the claim brought. Raises `Empty` when that is nothing."""
        if self.claiming.claim is None:
            return bool(super()._brpop_read(**options))
        taken = self._read_claim(self.claiming.claim)
        if not taken:
            raise stock.Empty
        for tag, lane, item in taken:
            self._hand_over(tag, lane, item)
        return True

    def _read_claim(self, claim: Claim) -> list[tuple[str, str, bytes]]:
        """(tag, lane, message) of each message claimed, all held from here on."""
        connection = self.client.connection
        try:
            rung, answer = self.claiming.read(connection)
        except self.connection_errors:
            connection.disconnect()
            raise
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()
        # After our own bell, ask again: the claim behind the wait did not know of the room.
        ask_again = rung == self.own_bell()
        taken = self._held_from_now(self.claiming.taken(claim, answer, self.store, ask_again=ask_again))
        for lane in reversed(dict.fromkeys(lane for _, lane, _ in reversed(taken))):
            self._queue_cycle.rotate(lane)
        return taken

    def _held_from_now(self, taken: list[tuple[str, str, bytes]]) -> list[tuple[str, str, bytes]]:
        self.qos.held.add(tag for tag, _, _ in taken)
        return taken

    def _hand_over(self, tag: str, lane: str, item: bytes) -> None:
        callback = self.connection._callbacks.get(lane)  # noqa: SLF001  # kombu's map of consumers
        if callback is None:  # its consumer was cancelled while the claim was under way
            self.qos.reject(tag, requeue=True)
            return
        try:
            callback(_tagged(item, tag))
        except Malformed as fault:
            self.qos.quarantine(tag, str(fault))
        if lane in self._no_ack_lanes:
            self.qos.ack(tag)

    def _basic_cancel(self, consumer_tag: str) -> Foreign:
        self.lanes_consumed.discard(self._tag_to_queue.get(consumer_tag, ""))
        cancelled = super()._basic_cancel(consumer_tag)
        if not self.active_queues:
            self._call_off()
        return cancelled

    def _call_off(self) -> None:
        """End the claim that is under way; what it still brings goes back to its lane."""
        claim = self.claiming.claim
        if claim is None or not self._in_poll:
            return
        self.store.client.zadd(self.own_bell(), {"": 0})
        for tag, _, _ in self._read_claim(claim):
            self.qos.held.rejected.append(Rejection(tag, True, ""))
        self.qos.flush()

    def lose(self) -> None:
        """The connection is gone: leave what is held to the next channel, and close without a word to Redis."""
        if self.closed:
            return
        self.closed = True
        self._in_poll = None
        self.claiming.forget()
        self.qos.leave_at_exit()
        self.custody.leave()
        self.connection.cycle.discard(self)
        self._disconnect_pools()
        self._close_clients()
        self.connection = None

    def close(self) -> None:
        """Close in order; after `lose` there is nothing left to do."""
        if self.closed:
            return
        try:
            self._call_off()
        except (*self.connection_errors, ResponseError):
            self._in_poll = None
            self.claiming.forget()
        self.custody.hand_back()
        super().close()


class SentinelChannel(Channel, stock.SentinelChannel):  # type: ignore[misc]  # kombu's class is untyped
    """The same behind Redis Sentinel."""

    from_transport_options = (*stock.SentinelChannel.from_transport_options, "lane_limits")


def _tagged(item: bytes, tag: str) -> Payload:
    """A claimed message under the tag it is unacked with."""
    payload = decode(item)
    payload["properties"]["delivery_tag"] = tag
    return payload
