"""The small parts by themselves."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from contextvars import ContextVar

import pytest
from billiard.einfo import ExceptionInfo

from workers.pool.bridge import await_, drive, off_loop
from workers.pool.job import release_frames
from workers.pool.mailbox import Mailbox
from workers.pool.threads import DaemonThreads


class TestMailbox:
    def test_calls_are_made_in_order_with_one_wake_up(self) -> None:
        wakes: list[object] = []
        made: list[int] = []
        mailbox = Mailbox(wakes.append)
        for n in range(5):
            mailbox.post(made.append, n)
        assert len(wakes) == 1
        mailbox.deliver()
        assert made == [0, 1, 2, 3, 4]
        mailbox.post(made.append, 5)
        assert len(wakes) == 2

    def test_a_call_posted_during_delivery_wakes_again(self) -> None:
        wakes: list[object] = []
        made: list[str] = []
        mailbox = Mailbox(wakes.append)
        mailbox.post(mailbox.post, made.append, "later")
        mailbox.deliver()
        assert (made, len(wakes)) == ([], 2)
        mailbox.deliver()
        assert made == ["later"]

    def test_a_call_that_raises_does_not_stop_the_others(self, caplog: pytest.LogCaptureFixture) -> None:
        made: list[int] = []
        mailbox = Mailbox(lambda deliver: None)
        mailbox.post(int, "seven")
        mailbox.post(made.append, 1)
        with caplog.at_level(logging.CRITICAL):
            mailbox.deliver()
        assert made == [1]

    def test_a_delivery_may_be_interrupted_by_another(self) -> None:
        made: list[int] = []
        mailbox = Mailbox(lambda deliver: None)
        mailbox.post(mailbox.deliver)  # as a signal handler does
        mailbox.post(made.append, 1)
        mailbox.deliver()
        assert made == [1]


class TestBridge:
    async def test_synchronous_code_awaits_several_coroutines(self) -> None:
        def call(x: int) -> int:
            return await_(plus_one(await_(plus_one(x))))

        assert await drive(call, 1) == 3

    async def test_exceptions_pass_both_ways(self) -> None:
        def call() -> str:
            try:
                await_(fail())
            except LookupError as error:
                raise ValueError("seen") from error
            return "not reached"

        with pytest.raises(ValueError, match="seen"):
            await drive(call)

    async def test_a_cancellation_reaches_the_coroutine(self) -> None:
        started, seen = asyncio.Event(), []

        async def forever() -> None:
            started.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        task = asyncio.create_task(drive(await_, forever()))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == ["cancelled"]

    async def test_both_sides_share_context_variables(self) -> None:
        variable: ContextVar[str] = ContextVar("variable")

        async def change() -> None:
            variable.set("by the coroutine")

        def call() -> str:
            await_(change())
            return variable.get()

        assert await drive(call) == "by the coroutine"
        assert variable.get() == "by the coroutine"

    async def test_a_blocking_call_leaves_the_loop_alone(self) -> None:
        here = threading.current_thread()
        assert await drive(off_loop, threading.current_thread) is not here
        assert off_loop(threading.current_thread) is here


class Thing:
    """What a body works on."""


class TestReleaseFrames:
    async def test_what_a_failed_body_worked_on_is_freed_without_the_garbage_collector(self) -> None:
        worked_on: list[weakref.ref[Thing]] = []

        async def body() -> None:
            thing = Thing()
            worked_on.append(weakref.ref(thing))
            try:
                await fail()
            except LookupError as error:
                failure = ValueError("second")
                raise failure from error

        def tracer() -> tuple[int, ExceptionInfo, float]:
            try:
                await_(body())
            except ValueError:
                told = ExceptionInfo()
                return 1, told, 0.0
            raise AssertionError("unreachable")

        gc.disable()
        try:
            outcome = await drive(tracer)
            release_frames(outcome)
            assert isinstance(outcome[1].exception, Exception)
            assert "second" in str(outcome[1].traceback), "it was put into words"
            del outcome
            assert worked_on[0]() is None
        finally:
            gc.enable()

    @pytest.mark.parametrize("outcome", [None, (0, "answer", 0.1), (1, "no error", 0.1), "other"])
    def test_anything_else_is_left_alone(self, outcome: object) -> None:
        release_frames(outcome)


class TestDaemonThreads:
    def test_threads_are_daemons_started_as_needed_and_used_again(self) -> None:
        threads = DaemonThreads(2, "test")
        gate = threading.Event()
        waiting = [threads.submit(gate.wait, 5) for _ in range(5)]
        assert len(threads.threads) == 2
        assert all(thread.daemon for thread in threads.threads)
        gate.set()
        assert [call.result(5) for call in waiting] == [True] * 5
        threads.submit(int).result(5)
        assert len(threads.threads) == 2
        threads.shutdown()
        for thread in threads.threads:
            thread.join(5)
            assert not thread.is_alive()

    def test_a_call_that_waits_can_be_cancelled_and_one_that_exits_is_a_result(self) -> None:
        threads = DaemonThreads(1, "test")
        gate = threading.Event()
        first = threads.submit(gate.wait, 5)
        second = threads.submit(int)
        assert second.cancel()
        gate.set()
        assert first.result(5)
        assert isinstance(threads.submit(raise_exit).exception(5), SystemExit)
        threads.shutdown()


def raise_exit() -> None:
    raise SystemExit


async def plus_one(x: int) -> int:
    await asyncio.sleep(0)
    return x + 1


async def fail() -> None:
    raise LookupError
