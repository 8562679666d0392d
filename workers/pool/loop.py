"""The pool's asyncio loop, in its own thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from celery.utils.log import get_logger

from workers.pool import bridge
from workers.pool.threads import DaemonThreads

try:
    from uvloop import new_event_loop
except ImportError:  # no build for this platform
    from asyncio import new_event_loop  # type: ignore[assignment]  # the same, for our purpose

T = TypeVar("T")
log = get_logger(__name__)

MAX_BLOCKING_CALLS = 32
"""Threads of `asyncio.to_thread`: calls that wait for a disk or a socket, so more than there are cores."""

CANCEL_TIMEOUT_S = 1.0
"""Wait at the end for tasks that no job waits for; jobs have had their own time."""


class LoopThread(threading.Thread):
    """A running asyncio loop, uvloop's where it is installed. A daemon: a blocked loop cannot hold the process."""

    def __init__(self) -> None:
        super().__init__(name="asyncio-loop", daemon=True)
        self.loop: asyncio.AbstractEventLoop = new_event_loop()
        self.blocking_calls = DaemonThreads(MAX_BLOCKING_CALLS, "to-thread")
        self.loop.set_default_executor(self.blocking_calls)
        self.loop.set_task_factory(name_after_parent)  # type: ignore[arg-type]  # typeshed wants a generator
        self._stopping = False

    def run(self) -> None:
        """Run the loop until `stop`."""
        asyncio.set_event_loop(self.loop)
        bridge.serve(self.loop)
        while not self._stopping:
            try:
                self.loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                # asyncio lets these two through from any task to the loop; the task that waits for it gets it as well.
                log.error("%r raised in an asyncio task does not stop the worker", error)  # noqa: TRY400
        bridge.serve(None)
        self.blocking_calls.shutdown()
        self.loop.close()

    def wait_for(self, coroutine: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        """Run a coroutine on the loop and wait for it. From another thread. Raises `TimeoutError` after `timeout_s`."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout_s)

    def stop(self) -> None:
        """Cancel what still runs and end the thread. A blocked loop is left to the process's exit."""
        self._stopping = True
        with contextlib.suppress(TimeoutError):
            self.wait_for(cancel_others(), 2 * CANCEL_TIMEOUT_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.join(CANCEL_TIMEOUT_S)


async def cancel_others() -> None:
    """Cancel all other tasks of this loop and give them `CANCEL_TIMEOUT_S` to end."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=CANCEL_TIMEOUT_S)
    await asyncio.get_running_loop().shutdown_asyncgens()


def name_after_parent(
    loop: asyncio.AbstractEventLoop,
    coro: Coroutine[Any, Any, T],
    **options: Any,
) -> asyncio.Task[T]:
    """Task factory: a task that a job starts has the job's name, so that a stack or a log line tells whose it is."""
    parent = asyncio.current_task(loop)  # a task is made on its loop's thread, or before the loop runs
    task = asyncio.Task(coro, loop=loop, **options)
    if parent is not None and options.get("name") is None:
        task.set_name(parent.get_name())
    return task
