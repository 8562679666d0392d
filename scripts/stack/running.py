"""Two ways to have a stack: in the foreground of a terminal (`docmill up`), or behind other work (`docmill run`)."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
from collections.abc import Coroutine, Iterator
from types import FrameType

from config.settings import Settings
from config.stack import Stack
from scripts.stack.embedded import EmbeddedStack
from scripts.stack.part import Report
from scripts.stack.services import Parts
from scripts.stack.terminal import Terminal

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
KILLED = 130


def in_foreground(settings: Settings, parts: Parts) -> int:
    """Run the stack, its logs on standard output, until SIGINT, SIGTERM or SIGHUP; a second one kills.

    Returns 0 when it stopped in order, 130 when it was killed. Raises `StackError` when a part does not come up.
    """
    return asyncio.run(_foreground(settings, parts))


async def _foreground(settings: Settings, parts: Parts) -> int:
    asked, killed = asyncio.Event(), asyncio.Event()
    terminal = Terminal(sys.stdout, gone=asked.set)
    stack = EmbeddedStack(settings, parts, report=terminal.note, hear=terminal.hear)

    def signalled() -> None:
        if asked.is_set():
            killed.set()
            stack.kill()
        else:
            asked.set()
            terminal.note(f"stopping; workers finish within {settings.drain_timeout_s:g} s, a second Ctrl-C kills them")

    loop = asyncio.get_running_loop()
    for number in STOPPING:
        loop.add_signal_handler(number, signalled)
    try:
        if await _unless(asked, stack.start()):
            terminal.note(f"ready: {_addresses(stack.address)}; Ctrl-C stops it")
            await _unless(asked, stack.wait())
    finally:
        await stack.stop()
        for number in STOPPING:
            loop.remove_signal_handler(number)
    return KILLED if killed.is_set() else 0


async def _unless(asked: asyncio.Event, work: Coroutine[None, None, None]) -> bool:
    """Work until it is done, which is True, or until the event. Raises what the work raises."""
    working, waiting = asyncio.create_task(work), asyncio.create_task(asked.wait())
    await asyncio.wait([working, waiting], return_when=asyncio.FIRST_COMPLETED)
    for task in (working, waiting):
        task.cancel()
    await asyncio.wait([working, waiting])
    if working.cancelled():
        return False
    working.result()
    return True


def _addresses(stack: Stack) -> str:
    return (
        ", ".join(
            f"{name} {url}"
            for name, url in (("Flower", stack.flower_url), ("simulator (synthetic answers)", stack.simulator_url))
            if url
        )
        or "all parts"
    )


@contextlib.contextmanager
def in_background(settings: Settings, parts: Parts, *, report: Report | None = None) -> Iterator[EmbeddedStack]:
    """Have a stack while the block runs. What its parts print goes to `logs` in the data folder only.

    `report` is called from another thread, with one line per event that a person may want to know. Leaving the block
    stops the stack in order, and a KeyboardInterrupt while it stops kills it. In the main thread SIGTERM and SIGHUP
    leave the block too, as SystemExit. Raises `StackBusy`, `StackError`.
    """
    stack = EmbeddedStack(settings, parts, report=report or _ignore, hear=_ignore)
    with _loop_in_thread() as loop, _signals_as_exits():
        try:
            asyncio.run_coroutine_threadsafe(stack.start(), loop).result()
            yield stack
        finally:
            stopped = asyncio.run_coroutine_threadsafe(stack.stop(), loop)
            try:
                stopped.result()
            except (KeyboardInterrupt, SystemExit):
                loop.call_soon_threadsafe(stack.kill)
                stopped.result()
                raise


@contextlib.contextmanager
def _loop_in_thread() -> Iterator[asyncio.AbstractEventLoop]:
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        thread = threading.Thread(target=loop.run_forever, name="stack", daemon=True)
        thread.start()
        try:
            yield loop
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()


@contextlib.contextmanager
def _signals_as_exits() -> Iterator[None]:
    """SIGTERM and SIGHUP would end us without leaving any block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _exit) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _ignore(*_: str) -> None:
    pass
