"""Threads that do not keep a stopping process alive."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class DaemonThreads(ThreadPoolExecutor):
    """A `ThreadPoolExecutor` of daemon threads, started when needed.

    The standard one waits for its threads when the interpreter exits; a call that hangs would hold up the worker's
    exit past its grace. (A subclass, because asyncio accepts nothing else as its default executor.)
    """

    def __init__(self, max_threads: int, name: str) -> None:
        super().__init__(max_threads)
        self.max_threads = max_threads
        self.name = name
        self.threads: list[threading.Thread] = []
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Make the call in one of the threads."""
        future: Future[T] = Future()
        self._calls.put((future, lambda: fn(*args, **kwargs)))
        if not self._idle.acquire(blocking=False) and len(self.threads) < self.max_threads:
            thread = threading.Thread(target=self._work, name=f"{self.name}-{len(self.threads)}", daemon=True)
            self.threads.append(thread)
            thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads after the calls they have; nobody waits for them."""
        for _ in self.threads:
            self._calls.put(None)

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            future, call = item
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for the call
                    future.set_exception(error)
            del item, future, call  # or an idle thread would keep the last call's result alive
            self._idle.release()
