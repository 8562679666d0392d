"""Reports a blocked loop: which task, for how long, and where.

One blocking call in one coroutine stops every job of the process, and from outside it looks like a slow network.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback

from celery.utils.log import get_logger

from workers.pool.loop import LoopThread

log = get_logger(__name__)

BEAT_S = 0.25
ROUNDS_WITHOUT_BEAT = 6
"""Then the loop has been blocked for 1.0 to 1.5 s. Rounds and not a clock, for a clock also counts while the whole
process is stopped."""


class Watchdog(threading.Thread):
    """Watches a loop's heartbeat from a thread of its own.

    `lag_s` is how late the last beat was: what a coroutine that is ready to run waits for its turn.
    """

    def __init__(self, watched: LoopThread) -> None:
        super().__init__(name="loop-watchdog", daemon=True)
        self.lag_s = 0.0
        self._watched = watched
        self._due = time.monotonic()
        self._stop_requested = threading.Event()

    def run(self) -> None:
        """Beat and watch until `stop`."""
        self._watched.loop.call_soon_threadsafe(self._beat)
        due, rounds = 0.0, 0
        while not self._stop_requested.wait(BEAT_S):
            rounds = rounds + 1 if due == self._due else 1
            due = self._due
            if rounds == ROUNDS_WITHOUT_BEAT:
                self._report(time.monotonic() - due)

    def stop(self) -> None:
        """Stop watching."""
        self._stop_requested.set()

    def _beat(self) -> None:
        now = time.monotonic()
        self.lag_s = max(0.0, now - self._due)
        self._due = now + BEAT_S
        if self.lag_s > 1:
            log.error("the loop goes on, %.1f s late", self.lag_s)
        if not self._stop_requested.is_set():
            self._watched.loop.call_later(BEAT_S, self._beat)

    def _report(self, late_s: float) -> None:
        frame = sys._current_frames().get(self._watched.ident or 0)  # noqa: SLF001 - the way to another thread's stack
        task = asyncio.current_task(self._watched.loop)
        log.error(
            "the loop is blocked for %.1f s by %s; no job of this worker moves. Stack of its thread:\n%s",
            late_s,
            task.get_name() if task else "a callback",
            "".join(traceback.format_stack(frame)) if frame else "(none)",
        )
