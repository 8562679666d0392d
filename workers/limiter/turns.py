"""The calls of one process that wait for their turn in a bucket, in the order in which they asked.

When each turn is, the bucket has said; here it is waited for, put off, drawn up or given back. No I/O, and all times
are the event loop's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from tasks.rules.limiting import Amounts

WORTH_MOVING = 0.8
"""A queue that became shorter than this part of what was told is told anew."""


class Turn:
    """A call that waits. Its future ends with None when it may go, or with the seconds that would be too long."""

    __slots__ = ("asked", "due", "future", "is_gone", "is_guess", "timer")

    def __init__(self, asked: Amounts, future: asyncio.Future[float | None], *, is_guess: bool) -> None:
        self.asked = asked
        self.is_guess = is_guess
        self.future = future
        self.due = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self.is_gone = False

    def end(self, refused_s: float | None = None) -> None:
        """Let it go, or tell it that its turn is `refused_s` away."""
        if self.timer is not None:
            self.timer.cancel()
        if not self.future.done():
            self.future.set_result(refused_s)


class Turns:
    """See the module's docstring. A turn is new until it is asked for, and scheduled once the bucket holds for it."""

    def __init__(self, longest_wait_s: float, give_back: Callable[[Amounts], None]) -> None:
        """Begin with none. `give_back` hears of what the bucket holds for calls that do not wait any more."""
        self._loop = asyncio.get_running_loop()
        self._longest_wait_s, self._give_back = longest_wait_s, give_back
        self._new: deque[Turn] = deque()
        self._scheduled: dict[Turn, None] = {}

    def __bool__(self) -> bool:
        return bool(self._new or self._scheduled)

    @property
    def has_new(self) -> bool:
        """Whether some were not asked for."""
        return bool(self._new)

    @property
    def unsent(self) -> Amounts:
        """What the bucket holds for those whose turn has not come."""
        return Amounts(*(sum(turn.asked[n] for turn in self._scheduled) for n in range(3)))

    def add(self, asked: Amounts, *, is_guess: bool) -> Turn:
        """One more, at the end."""
        turn = Turn(asked, self._loop.create_future(), is_guess=is_guess)
        self._new.append(turn)
        return turn

    def take_new(self, most: float) -> list[Turn]:
        """Those to ask for, `most` of them; each must come to `answer` or to its end."""
        return [self._new.popleft() for _ in range(int(min(most, len(self._new))))]

    def answer(self, turn: Turn, wait_s: float, now: float) -> None:
        """The bucket holds for it: it may go after `wait_s`."""
        if turn.is_gone:
            self._give_back(turn.asked)
        elif wait_s <= 0:
            turn.end()
        else:
            self._schedule(turn, now + wait_s)

    def leave(self, turn: Turn) -> None:
        """The call does not wait any more."""
        turn.is_gone = True
        if turn in self._scheduled:
            self._drop(turn)
        elif turn in self._new:
            self._new.remove(turn)
        elif turn.future.done() and not turn.future.cancelled() and turn.future.result() is None:
            self._give_back(turn.asked)  # its turn had just come

    def put_off(self, later_s: float, now: float) -> None:
        """Everybody's turn comes so much later; those for whom that is too long are told so."""
        for turn in list(self._scheduled):
            wait_s = turn.due + later_s - now
            if wait_s > self._longest_wait_s:
                self._drop(turn, wait_s)
            else:
                self._schedule(turn, turn.due + later_s)

    def draw_up(self, start: float, queue_s: float, spacing_s: float) -> None:
        """The queue has become shorter than those in it were told: it now lasts `queue_s` from `start`.

        They stay in order, and `spacing_s` apart on average.
        """
        last_s = max((turn.due for turn in self._scheduled), default=start) - start
        if last_s <= 0:
            return
        part = max(queue_s, len(self._scheduled) * spacing_s) / last_s
        if part < WORTH_MOVING:
            self.stretch(start, part)

    def stretch(self, start: float, times: float) -> None:
        """What was to come after `start` takes so many times as long; those for whom that is too long are told so."""
        for turn in list(self._scheduled):
            due = start + max(0.0, turn.due - start) * times
            if due - start > self._longest_wait_s:
                self._drop(turn, due - self._loop.time())
            else:
                self._schedule(turn, due)

    def resize(self, sized: Callable[[Amounts], Amounts]) -> None:
        """Guesses were too large: hold no more for them than `sized` says."""
        for turn in self._guesses(self._new):
            turn.asked = sized(turn.asked)
        for turn in self._guesses(list(self._scheduled)):
            asked, turn.asked = turn.asked, sized(turn.asked)
            self._give_back(Amounts(*(old - new for old, new in zip(asked, turn.asked, strict=True))))

    @staticmethod
    def _guesses(turns: Sequence[Turn]) -> list[Turn]:
        return [turn for turn in turns if turn.is_guess]

    def _schedule(self, turn: Turn, due: float) -> None:
        if turn.timer is not None:
            turn.timer.cancel()
        turn.due = due
        turn.timer = self._loop.call_at(due, self._go, turn)
        self._scheduled[turn] = None

    def _go(self, turn: Turn) -> None:
        self._scheduled.pop(turn, None)
        turn.end()

    def _drop(self, turn: Turn, refused_s: float | None = None) -> None:
        self._scheduled.pop(turn, None)
        self._give_back(turn.asked)
        turn.end(refused_s)
