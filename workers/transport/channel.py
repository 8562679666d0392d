"""kombu's Redis channel with the parts mended that lose, repeat or hold up messages.

A message that has to wait does so in Redis. A worker claims as many messages as it has room for in one atomic step,
and takes nothing while it waits for some. Acks go out together. What runs here stays ours across a lost connection.
What no worker can read goes to quarantine.

Only the thread of the event loop talks to Redis here, as in kombu. `Message.ack` and `reject` take note, `flush`
tells Redis. `store` has the steps themselves.
"""

from __future__ import annotations

import sys
from time import monotonic, time

import redis
from kombu.log import get_logger
from kombu.utils.json import dumps
from redis.exceptions import NoScriptError, ResponseError

from workers.transport.errors import BrokerRefused, Malformed
from workers.transport.foreign import Foreign, stock
from workers.transport.held import Held, Rejection
from workers.transport.keys import Keys, lane_of
from workers.transport.lanes import LaneLimits
from workers.transport.qos import QoS
from workers.transport.store import Claim, Store, is_refusal
from workers.transport.wire import Message, Payload, decode, priority_of, without_delay

log = get_logger(__name__)

FLUSH_S = 0.02
"""Longest time an ack waits for others to go with it."""

_parked: dict[tuple[Foreign, ...], list[Held]] = {}  # of connections that were lost, until the next one takes over


class Channel(stock.Channel):  # type: ignore[misc]  # kombu's class is untyped
    """See the module's docstring. Options beside kombu's: `lane_limits`, a dict or `LaneLimits`."""

    QoS = QoS
    Message = Message
    connection: Foreign
    closed: bool
    supports_batch_publish = False  # kombu's batches know LPUSH only; `publish_many` is ours
    lane_limits: LaneLimits | dict[str, int] | None = None
    from_transport_options = (*stock.Channel.from_transport_options, "lane_limits")

    def __init__(self, connection: Foreign, **kwargs: Foreign) -> None:
        self.lanes_consumed: set[str] = set()
        self._no_ack_lanes: set[str] = set()
        self._claim: Claim | None = None  # the one under way
        self._is_waiting = False
        self._nothing_ready = False
        self._full: set[str] = set()
        self._next_due = 0.0
        self._rest_until = 0.0
        self._flush_is_due = False
        self._store: Store | None = None
        super().__init__(connection, **kwargs)
        self.keys = Keys(
            self.global_keyprefix, self.sep, tuple(self.priority_steps), self.unacked_key, self.unacked_index_key
        )
        self.limits = self.lane_limits if isinstance(self.lane_limits, LaneLimits) else LaneLimits(self.lane_limits)
        self._restore_at = monotonic() + self.unacked_restore_interval

    # --- connections

    @property
    def store(self) -> Store:
        """The broker, over a client that leaves keys alone, unlike kombu's own with a `global_keyprefix`."""
        if self._store is None or self._store.client.connection_pool is not self.pool:
            self._store = Store(redis.Redis(connection_pool=self.pool), self.keys)
        return self._store

    def _get_pool(self, asynchronous: bool = False) -> Foreign:
        if self.connection is None or self.connection.client is None:
            raise redis.ConnectionError("the broker connection was closed")
        return super()._get_pool(asynchronous=asynchronous)

    def _broker(self) -> tuple[Foreign, ...]:
        client = self.connection.client
        return (client.hostname, client.port, client.virtual_host, self.global_keyprefix, self.unacked_key)

    # --- publishing

    def _put(self, queue: str, message: Payload, **kwargs: Foreign) -> None:
        if queue in self._expires:  # kombu's own short-lived queues
            super()._put(queue, message, **kwargs)
            return
        message, delay_s = without_delay(message, now_s=time())
        self.publish(queue, self.keys.step(priority_of(message)), [(delay_s, dumps(message))])

    def publish(self, lane: str, step: int, messages: list[tuple[float, str]]) -> None:
        """Put (delay in seconds, message) pairs into a lane. Raises `BrokerRefused`."""
        try:
            self.store.publish(lane, step, messages)
        except ResponseError as error:
            raise self._refusal(error) from None

    def lanes_of(self, message: Payload) -> list[str]:
        """The lanes that a message just published went to."""
        info = message["properties"]["delivery_info"]
        lanes: list[str] = self._lookup(info["exchange"], info["routing_key"])
        return lanes

    def _queue_bind(self, *args: Foreign, **kwargs: Foreign) -> None:
        try:
            super()._queue_bind(*args, **kwargs)
        except ResponseError as error:
            raise self._refusal(error) from None

    def _refusal(self, error: ResponseError) -> Exception:
        if not is_refusal(error):
            return error
        client = self.connection.client
        return BrokerRefused(
            f"Redis at {client.hostname}:{client.port or 6379} takes no messages: {error} "
            "Nothing was published; try again when it has memory, disk and its primary role."
        )

    def _size(self, queue: str) -> int:
        return self.store.ready_count(queue)

    def _purge(self, queue: str) -> int:
        delayed = self.keys.delayed(queue)
        with self.store.client.pipeline() as pipe:
            pipe.zcard(delayed)
            pipe.delete(delayed)
            purged, _ = pipe.execute()
        return int(super()._purge(queue) + purged)

    # --- consuming: one request at a time on the connection that kombu's poller watches

    def basic_consume(self, queue: str, no_ack: bool, *args: Foreign, **kwargs: Foreign) -> Foreign:
        """Consume; the first acked lane of a new connection takes over what the lost one held."""
        if no_ack:
            self._no_ack_lanes.add(queue)
        elif queue not in self._fanout_queues:
            if not self.lanes_consumed:
                self._take_over()
            self.lanes_consumed.add(queue)
        return super().basic_consume(queue, no_ack, *args, **kwargs)

    def basic_get(self, queue: str, no_ack: bool = False, **kwargs: Foreign) -> Foreign | None:
        """One message of `queue` now, or None."""
        claim = Claim(self.qos.held.next_ticket(), 1, [queue], [1])
        for tag, _, item in self._held_from_now(claim.taken(self.store.claim(claim))):
            try:
                message = Message(_tagged(item, tag), channel=self)
            except Malformed as fault:
                self.quarantine(tag, str(fault))
                continue
            if no_ack:
                self.qos.ack(tag)
            return message
        return None

    def is_claiming(self) -> bool:
        """Whether a claim is under way, so that what it brings is ours already."""
        return self._claim is not None

    def _brpop_start(self, timeout: float | None = None) -> None:
        """Ask for messages: at once if there may be some, else when a wake key says so or the next one is due."""
        if not self.lanes_consumed:
            super()._brpop_start(timeout)
            return
        now, claim = monotonic(), self._next_claim()
        if claim is None or now < self._rest_until:
            return
        commands = [self.store.claim_command(claim)]
        if self._nothing_ready:
            wait_s = max(0.01, min(timeout or self.brpop_timeout or 1, self._next_due - now))
            bells = [self.keys.wake(lane) for lane in claim.lanes if lane not in self._full]
            commands.insert(0, ["BZPOPMIN", self._own_bell(), *bells, round(wait_s, 3)])
        self._is_waiting, self._claim = self._nothing_ready, claim
        connection = self._in_poll = self.client.connection
        self._brpop_sent_at = now
        connection.send_packed_command(connection.pack_commands(commands))

    def _next_claim(self) -> Claim | None:
        credit, held = self.qos.credit(), self.qos.held
        lanes = self._queue_cycle.consume(len(self.active_queues))
        if not lanes or credit <= 0:
            return None
        room = [self.limits.room(lane, held=held.by_lane[lane], credit=credit) for lane in lanes]
        self._full = {lane for lane, free in zip(lanes, room, strict=True) if not free}
        return Claim(held.next_ticket(), credit, lanes, room, in_turn=self.queue_order_strategy == "round_robin")

    def _own_bell(self) -> str:
        """The wake key that only this process waits for: a full lane has room again."""
        return self.keys.wake(self.qos.held.owner)

    def _brpop_read(self, **options: Foreign) -> bool:
        """Hand over what the claim brought. Raises `Empty` when that is nothing."""
        if self._claim is None:
            return bool(super()._brpop_read(**options))
        taken = self._read_claim(self._claim)
        if not taken:
            raise stock.Empty
        for tag, lane, item in taken:
            self._hand_over(tag, lane, item)
        return True

    def _read_claim(self, claim: Claim) -> list[tuple[str, str, bytes]]:
        """(tag, lane, message) of each message claimed, all held from here on."""
        connection = self.client.connection
        try:
            rung = _reply(connection) if self._is_waiting else None
            reply = _reply(connection)
        except self.connection_errors:
            connection.disconnect()
            raise
        finally:
            self._in_poll = self._claim = None
            self._is_waiting = False
            self._flush_brpop_reauth()
        if isinstance(reply, ResponseError):
            self._rest(reply)
            return []
        taken = self._held_from_now(claim.taken(reply))
        # After our own bell, ask again: the claim behind the wait did not know of the room.
        self._nothing_ready = len(taken) < claim.credit and not (rung and rung[0].decode() == self._own_bell())
        self._next_due = monotonic() + (reply[0] / 1000 if reply[0] >= 0 else 3600)
        for lane in reversed(dict.fromkeys(lane for _, lane, _ in reversed(taken))):
            self._queue_cycle.rotate(lane)
        return taken

    def _held_from_now(self, taken: list[tuple[str, str, bytes]]) -> list[tuple[str, str, bytes]]:
        self.qos.held.add(tag for tag, _, _ in taken)
        return taken

    def _rest(self, error: ResponseError) -> None:
        """Redis did not run the claim: try again, in a second if it takes no writes. Other errors are raised."""
        if isinstance(error, NoScriptError):
            self.store.load()
        elif is_refusal(error):
            log.warning("Redis takes no messages back or forth, next try in a second: %s", error)
            self._rest_until = monotonic() + 1
        else:
            raise error

    def _hand_over(self, tag: str, lane: str, item: bytes) -> None:
        callback = self.connection._callbacks.get(lane)  # noqa: SLF001  # kombu's map of consumers
        if callback is None:  # its consumer was cancelled while the claim was under way
            self.qos.reject(tag, requeue=True)
            return
        try:
            callback(_tagged(item, tag))
        except Malformed as fault:
            self.quarantine(tag, str(fault))
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
        if self._claim is None or not self._in_poll:
            return
        self.store.client.zadd(self._own_bell(), {"": 0})
        for tag, _, _ in self._read_claim(self._claim):
            self.qos.held.rejected.append(Rejection(tag, True, ""))
        self.flush()

    # --- telling Redis the outcome

    def flush_soon(self) -> None:
        """Flush in `FLUSH_S`, or on the event loop's next turn when an eighth of the credit waits for it."""
        hub = self.connection.loop if self.connection is not None else None
        if hub is None or not self._consumers:  # nobody runs a timer: no event loop, or the worker is stopping
            self.flush()
        elif len(self.qos.held.acked) == max(1, self.qos.prefetch_count // 8):
            hub.call_later(0, self.flush)  # call_soon, from a callback of the hub, would wait for its next poll
        elif not self._flush_is_due:
            self._flush_is_due = True
            hub.call_later(FLUSH_S, self.flush)

    def flush(self) -> None:
        """Tell Redis what was acked and rejected. What it could not be told, the next flush tells."""
        self._flush_is_due = False
        held = self.qos.held
        if held.channel is not self:
            return
        try:
            self._tell_acks(held)
            self._tell_rejects(held)
        except ResponseError as error:
            if not is_refusal(error):
                raise
            if self.connection.loop is not None:
                self.connection.loop.call_later(1, self.flush)

    def _tell_acks(self, held: Held) -> None:
        acked = held.acked[:]
        if not acked:
            return
        has_room_again = self._is_waiting and not self._full.isdisjoint(map(lane_of, acked))
        self.store.forget(acked, ring=self._own_bell() if has_room_again else None)
        del held.acked[: len(acked)]
        held.settle(acked)

    def _tell_rejects(self, held: Held) -> None:
        while held.rejected:
            tag, requeue, reason = held.rejected[0]
            if requeue:
                self.store.restore([tag], last=True)
            else:
                self.store.quarantine(tag, reason)
            held.rejected.pop(0)
            held.settle([tag])

    def quarantine(self, tag: str, reason: str) -> None:
        """Put a message that is held out of the way, with the reason: one line that quotes no content."""
        self.explain(tag, reason)
        self.qos.reject(tag, requeue=False)

    def explain(self, tag: str, reason: str) -> None:
        """Say why `tag` is about to be rejected."""
        self.qos.held.reasons[tag] = reason

    # --- what becomes of held messages when connections and workers come and go

    def _take_over(self) -> None:
        """Go on where the lost connection of this process stopped.

        What runs here stays here. What the worker dropped when the connection went, and what a claim took whose
        answer was lost, goes back to its lane.
        """
        parked = _parked.get(self._broker())
        if not parked:
            return
        held = parked.pop()
        held.channel, self.qos.held = self, held
        self.refresh()
        self.flush()
        running = _running_tags()
        dropped = [tag for tag in held.tags if tag not in running]
        strays = [tag for tag in self.store.unacked() if held.is_ours(tag) and tag not in held.tags]
        self.store.restore([*dropped, *strays])
        held.settle(dropped)
        log.info("reconnected: %d messages run on, %d went back", len(held), len(dropped) + len(strays))

    def refresh(self) -> None:
        """Vouch for what is held, so that nobody takes it for abandoned."""
        self.store.refresh(list(self.qos.held.tags))

    def restore_abandoned(self) -> None:
        """Every `unacked_restore_interval` seconds, give back what nobody has vouched for in `visibility_timeout`.

        No lock: a script moves each message, and only the first caller's does, so a worker that dies in here holds
        up nobody. A server that has just started says nothing yet: while it was away, no worker could vouch.
        """
        if monotonic() < self._restore_at or not self.lanes_consumed:
            return
        self._restore_at = monotonic() + self.unacked_restore_interval
        if self.store.uptime_s() < min(self.visibility_timeout, 60):
            return
        since = self.store.now() - self.visibility_timeout
        silent = [tag for tag in self.store.silent_before(since) if tag not in self.qos.held.tags]
        restored = self.store.restore(silent, silent_since=since)
        if restored:
            log.warning("%d messages came back whose worker is silent", restored)

    def hand_back(self) -> None:
        """The channel closes in order: Redis hears every outcome, and what is left goes back to its lanes."""
        held = self.qos.held
        if held.channel is not self:
            return
        try:
            self.flush()
            self.store.restore(list(held.tags))
            held.settle(list(held.tags))
        except (*self.connection_errors, ResponseError) as error:
            log.warning("%d messages stay unacked until their visibility timeout: %r", len(held), error)
        held.channel = None

    def lose(self) -> None:
        """The connection is gone: leave what is held to the next channel, and close without a word to Redis."""
        if self.closed:
            return
        self.closed = True
        self._in_poll = self._claim = None
        self.qos.held.channel = None
        self.qos.leave_at_exit()
        if self.lanes_consumed:
            _parked.setdefault(self._broker(), []).append(self.qos.held)
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
            self._in_poll = self._claim = None
        self.hand_back()
        super().close()


class SentinelChannel(Channel, stock.SentinelChannel):  # type: ignore[misc]  # as above
    """The same behind Redis Sentinel."""

    from_transport_options = (*stock.SentinelChannel.from_transport_options, "lane_limits")


def _tagged(item: bytes, tag: str) -> Payload:
    """A claimed message under the tag it is unacked with."""
    payload = decode(item)
    payload["properties"]["delivery_tag"] = tag
    return payload


def _reply(connection: Foreign) -> Foreign:
    try:
        return connection.read_response()
    except ResponseError as error:  # an answer like another; the next one still has to be read
        return error


def _running_tags() -> set[str]:
    """Delivery tags of the tasks that Celery's worker in this process is running."""
    state = sys.modules.get("celery.worker.state")
    if state is None:
        return set()
    return {request.message.delivery_tag for request in tuple(state.active_requests) if not request.acknowledged}
