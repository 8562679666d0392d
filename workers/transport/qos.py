"""Credit of one channel, and telling Redis what became of its messages: acked, given back, put aside.

Only the thread of the event loop talks to Redis here, as in kombu. `ack` and `reject` take note in `Held`; `flush`
tells, many at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from workers.transport.foreign import Foreign, stock
from workers.transport.held import Held, Rejection
from workers.transport.keys import lane_of
from workers.transport.store import is_refusal

if TYPE_CHECKING:
    from workers.transport.channel import Channel

CLAIM_MAX = 500
"""Messages per claim: keeps the script to a few ms, in which Redis serves nobody else."""
FLUSH_S = 0.02
"""Longest time an ack waits for others to go with it."""
REFUSED_S = 1.0
"""Before a Redis that takes no writes is told again."""


class QoS(stock.QoS):  # type: ignore[misc]  # kombu's class is untyped
    """In place of kombu's, which talks to Redis for each message."""

    def __init__(self, channel: Channel, prefetch_count: int = 0) -> None:
        super().__init__(channel, prefetch_count)
        self.held = Held()
        self.held.channel = channel
        self._flush_is_due = False

    def can_consume(self) -> bool:
        """Whether there is credit; also true while an answer is under way, whose messages are ours already."""
        return self.channel.is_claiming() or self.credit() > 0

    def credit(self) -> int:
        """How many messages may be claimed now, `CLAIM_MAX` at most. What is acked counts until Redis knows."""
        return min(CLAIM_MAX, self.prefetch_count - len(self.held)) if self.prefetch_count else CLAIM_MAX

    def append(self, message: Foreign, delivery_tag: str) -> None:
        """Nothing to do: the claim has recorded it."""

    def ack(self, delivery_tag: str) -> None:
        """Take note; Redis hears of it from whichever channel speaks for us then."""
        self.held.acked.append(delivery_tag)
        self._speaker_flushes_soon()

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Back to the end of its lane, or else to quarantine: a message is never dropped."""
        reason = self.held.reasons.pop(delivery_tag, "rejected by its task")
        self.held.rejected.append(Rejection(delivery_tag, requeue, reason))
        self._speaker_flushes_soon()

    def explain(self, delivery_tag: str, reason: str) -> None:
        """Say why a message is about to be rejected: one line that quotes no content."""
        self.held.reasons[delivery_tag] = reason

    def quarantine(self, delivery_tag: str, reason: str) -> None:
        """Put a message that is held out of the way; `reason` as for `explain`."""
        self.explain(delivery_tag, reason)
        self.reject(delivery_tag, requeue=False)

    # --- telling Redis

    def _speaker_flushes_soon(self) -> None:
        if self.held.channel is not None:
            self.held.channel.qos.flush_soon()

    def flush_soon(self) -> None:
        """Flush in `FLUSH_S`, or on the event loop's next turn when an eighth of the credit waits for it."""
        hub = self.channel.loop()
        if hub is None or not self.channel.has_consumers():  # nobody runs a timer: no loop, or the worker is stopping
            self.flush()
        elif len(self.held.acked) == max(1, self.prefetch_count // 8):
            hub.call_later(0, self.flush)  # call_soon, from a callback of the hub, would wait for its next poll
        elif not self._flush_is_due:
            self._flush_is_due = True
            hub.call_later(FLUSH_S, self.flush)

    def flush(self) -> None:
        """Tell Redis what was acked and rejected. What it could not be told, the next flush tells."""
        self._flush_is_due = False
        hub, speaker = self.channel.loop(), self.held.channel
        if speaker is not self.channel:
            return
        try:
            self._tell_acks()
            self._tell_rejects()
        except ResponseError as error:
            if not is_refusal(error):
                raise
            if hub is not None:
                hub.call_later(REFUSED_S, self.flush)

    def _tell_acks(self) -> None:
        acked = self.held.acked[:]
        if not acked:
            return
        waits = self.channel.claiming.waits_for_room(map(lane_of, acked))
        self.channel.store.forget(acked, ring=self.channel.own_bell() if waits else None)
        del self.held.acked[: len(acked)]
        self.held.settle(acked)

    def _tell_rejects(self) -> None:
        while self.held.rejected:
            tag, requeue, reason = self.held.rejected[0]
            if requeue:
                self.channel.store.restore([tag], last=True)
            else:
                self.channel.store.quarantine(tag, reason)
            self.held.rejected.pop(0)
            self.held.settle([tag])

    # --- what kombu calls

    def restore_unacked(self, client: Foreign = None) -> None:
        """Give everything held back to its lane."""
        self.channel.custody.hand_back()

    def restore_unacked_once(self, stderr: Foreign = None) -> None:
        """The same when the channel closes or the process ends."""
        self.leave_at_exit()
        self.channel.custody.hand_back()

    def leave_at_exit(self) -> None:
        """Do not restore when the process ends: another channel holds the messages, or they are restored."""
        self._on_collect.cancel()

    def restore_visible(self, start: int = 0, num: int | None = None, interval: int = 10) -> None:
        """Give messages whose holder has long been silent back to their lanes."""
        self.channel.custody.restore_abandoned()
