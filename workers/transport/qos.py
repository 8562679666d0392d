"""Credit, acks and rejects of one channel, all by way of `Held`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.transport.foreign import Foreign, stock
from workers.transport.held import Held, Rejection

if TYPE_CHECKING:
    from workers.transport.channel import Channel

CLAIM_MAX = 500
"""Messages per claim: keeps the script to a few ms, in which Redis serves nobody else."""


class QoS(stock.QoS):  # type: ignore[misc]  # kombu's class is untyped
    """In place of kombu's, which talks to Redis for each message."""

    def __init__(self, channel: Channel, prefetch_count: int = 0) -> None:
        super().__init__(channel, prefetch_count)
        self.held = Held()
        self.held.channel = channel

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
        self._flush_soon()

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Back to the end of its lane, or else to quarantine: a message is never dropped."""
        reason = self.held.reasons.pop(delivery_tag, "rejected by its task")
        self.held.rejected.append(Rejection(delivery_tag, requeue, reason))
        self._flush_soon()

    def _flush_soon(self) -> None:
        if self.held.channel is not None:
            self.held.channel.flush_soon()

    def restore_unacked(self, client: Foreign = None) -> None:
        """Give everything held back to its lane."""
        self.channel.hand_back()

    def restore_unacked_once(self, stderr: Foreign = None) -> None:
        """The same when the channel closes or the process ends."""
        self.leave_at_exit()
        self.channel.hand_back()

    def leave_at_exit(self) -> None:
        """Do not restore when the process ends: another channel holds the messages, or they are restored."""
        self._on_collect.cancel()

    def restore_visible(self, start: int = 0, num: int | None = None, interval: int = 10) -> None:
        """Give messages whose holder has long been silent back to their lanes."""
        self.channel.restore_abandoned()
