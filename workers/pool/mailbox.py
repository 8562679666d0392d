"""Calls handed from one thread to another, in order, with one wake-up for many."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from celery.utils.log import get_logger

log = get_logger(__name__)


class Mailbox:
    """Calls to make on another thread, in the order they were posted.

    `wake` is called on the posting thread and must see to it that `deliver` is soon called on the other one.
    """

    __slots__ = ("_awake", "_calls", "_wake")

    def __init__(self, wake: Callable[[Callable[[], None]], object]) -> None:
        self._calls: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._wake = wake
        self._awake = False

    def post(self, call: Callable[..., object], *args: object) -> None:
        """Have `call(*args)` made on the other thread. From any thread."""
        self._calls.append((call, args))
        if not self._awake:
            self.wake()

    def wake(self) -> None:
        """Wake the other thread again: it may have lost the last wake-up."""
        self._awake = True
        self._wake(self.deliver)

    def deliver(self) -> None:
        """Make the calls posted so far. A call that raises is logged and does not stop the others."""
        self._awake = False  # first: a call posted from now on wakes us again
        for _ in range(len(self._calls)):
            try:
                call, args = self._calls.popleft()
            except IndexError:  # a signal handler of this thread came in between and delivered the rest
                return
            try:
                call(*args)
            except Exception:
                log.exception("Pool callback %r raised", call)
