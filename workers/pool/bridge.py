"""From synchronous code to a coroutine and back, on one thread.

`drive` runs a synchronous call in a greenlet; `await_` inside that call hands a coroutine to the asyncio task around
it and returns its result, while the loop goes on with other work. SQLAlchemy's asyncio layer works the same way.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from greenlet import getcurrent, greenlet

P = ParamSpec("P")
T = TypeVar("T")

_served: asyncio.AbstractEventLoop | None = None


class Bridge(greenlet):  # type: ignore[misc]  # greenlet ships no types
    """A greenlet whose parent is the asyncio task that drives it; both see the same context variables."""

    def __init__(self, call: Callable[..., Any]) -> None:
        driver = getcurrent()
        super().__init__(call, driver)
        self.gr_context = driver.gr_context


async def drive(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a synchronous call in which `await_` works. Raises what the call raises."""
    bridge = Bridge(call)
    answer = bridge.switch(*args, **kwargs)
    while not bridge.dead:  # then the answer is an awaitable from `await_`, else what the call returned
        try:
            value = await answer
        except BaseException:  # noqa: BLE001 - a cancellation belongs to the call as well
            answer = bridge.throw(*sys.exc_info())
        else:
            answer = bridge.switch(value)
    return answer  # type: ignore[no-any-return]  # greenlet.switch is untyped


def await_(awaitable: Coroutine[Any, Any, T]) -> T:
    """Wait, in synchronous code, for a coroutine; return its result or raise its exception.

    Inside a bridge (a signal handler, a task's `on_failure`) the loop goes on meanwhile. In another thread of a worker
    the coroutine runs on the pool's loop. Outside a worker it runs on a private loop. Raises `RuntimeError` in a
    coroutine: use `await` there.
    """
    current = getcurrent()
    if isinstance(current, Bridge):
        return current.parent.switch(awaitable)  # type: ignore[no-any-return]  # greenlet.switch is untyped
    if loop_runs_here():
        awaitable.close()
        raise RuntimeError("await_() was called on a running loop: use `await` there, or asyncio.to_thread(...)")
    if _served is not None:
        return asyncio.run_coroutine_threadsafe(awaitable, _served).result()
    return asyncio.run(awaitable)


def off_loop(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Make a blocking call; when inside a bridge make it in a thread, so that the loop goes on."""
    if inside():
        return await_(asyncio.to_thread(call, *args, **kwargs))
    return call(*args, **kwargs)


def inside() -> bool:
    """Whether this code runs inside a bridge."""
    return isinstance(getcurrent(), Bridge)


def loop_runs_here() -> bool:
    """Whether an asyncio loop is running in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def serve(loop: asyncio.AbstractEventLoop | None) -> None:
    """Name the loop that `await_` uses from other threads; None when there is none any more."""
    global _served
    _served = loop
