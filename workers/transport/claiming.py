"""The one request for messages that a channel may have under way, on the connection that kombu's poller watches.

When to ask and how, and what the answer says. `channel` sends, reads and hands over; `claim.lua` takes the messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from time import monotonic

from kombu.log import get_logger
from redis.exceptions import NoScriptError, ResponseError

from workers.transport.foreign import Foreign
from workers.transport.held import Held
from workers.transport.lanes import LaneLimits
from workers.transport.store import Claim, Store, is_refusal

log = get_logger(__name__)

REST_S = 1.0
"""Between claims while Redis takes no writes."""
LEAST_FIRST_EVERY = 16
"""Every so many claims begin with the least urgent messages: a share for those that would else wait for ever."""


class Claiming:
    """`claim` is the one under way; None while there is none."""

    def __init__(self, limits: LaneLimits) -> None:
        self.claim: Claim | None = None
        self._limits = limits
        self._is_waiting = False  # at a wake key, before the claim runs
        self._nothing_ready = False
        self._full: set[str] = set()
        self._next_due = 0.0
        self._rest_until = 0.0
        self._claims = 0

    def plan(self, lanes: Sequence[str], held: Held, credit: int, *, in_turn: bool) -> Claim | None:
        """What to ask for now: None without lanes or credit, or while Redis needs a rest."""
        if not lanes or credit <= 0 or monotonic() < self._rest_until:
            return None
        room = [self._limits.room(lane, held=held.by_lane[lane], credit=credit) for lane in lanes]
        self._full = {lane for lane, free in zip(lanes, room, strict=True) if not free}
        self._claims += 1
        least_first = self._claims % LEAST_FIRST_EVERY == 0
        return Claim(held.next_ticket(), credit, lanes, room, in_turn, least_first)

    def begin(self, claim: Claim, store: Store, bell: str, *, longest_s: float) -> list[list[Foreign]]:
        """The commands to send: the claim, behind a wait of `longest_s` for a wake key if nothing was ready before.

        `bell` is the wake key that only this process waits for: a full lane has room again.
        """
        commands = [store.claim_command(claim)]
        if self._nothing_ready:
            wait_s = max(0.01, min(longest_s, self._next_due - monotonic()))
            bells = [store.keys.wake(lane) for lane in claim.lanes if lane not in self._full]
            commands.insert(0, ["BZPOPMIN", bell, *bells, round(wait_s, 3)])
        self.claim, self._is_waiting = claim, self._nothing_ready
        return commands

    def read(self, connection: Foreign) -> tuple[str, Foreign]:
        """(wake key that rang, or "", and the claim's answer). Nothing is under way after this, whatever it raises."""
        try:
            rung = _reply(connection) if self._is_waiting else None
            return rung[0].decode() if rung else "", _reply(connection)
        finally:
            self.forget()

    def forget(self) -> None:
        """Nothing is under way any more."""
        self.claim, self._is_waiting = None, False

    def taken(self, claim: Claim, answer: Foreign, store: Store, *, ask_again: bool) -> list[tuple[str, str, bytes]]:
        """(tag, lane, message) of each message that the claim brought.

        With `ask_again` the next claim does not wait. Raises the answer if it is an error that does not pass.
        """
        if isinstance(answer, ResponseError):
            self._rest(answer, store)
            return []
        taken = claim.taken(answer)
        self._nothing_ready = len(taken) < claim.credit and not ask_again
        self._next_due = monotonic() + (answer[0] / 1000 if answer[0] >= 0 else 3600)
        return taken

    def _rest(self, error: ResponseError, store: Store) -> None:
        """Redis did not run the claim: try again, in a while if it takes no writes. Other errors are raised."""
        if isinstance(error, NoScriptError):
            store.load()
        elif is_refusal(error):
            log.warning("Redis takes no messages back or forth, next try in a second: %s", error)
            self._rest_until = monotonic() + REST_S
        else:
            raise error

    def waits_for_room(self, lanes: Iterable[str]) -> bool:
        """Whether a claim waits that passed over one of these lanes, because it was full."""
        return self._is_waiting and not self._full.isdisjoint(lanes)


def _reply(connection: Foreign) -> Foreign:
    try:
        return connection.read_response()
    except ResponseError as error:  # an answer like another; the next one still has to be read
        return error
