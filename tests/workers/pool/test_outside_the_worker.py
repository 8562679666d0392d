"""Coroutine tasks in a process that is not a worker, and what cannot be a task."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator
from typing import Any

import celery
import pytest
from celery import shared_task
from pydantic import BaseModel

from workers.pool import AsyncioCelery, await_


@pytest.fixture
def app() -> AsyncioCelery:
    return AsyncioCelery("outside", broker="memory://", set_as_current=False)


class Invoice(BaseModel):
    number: int


def test_apply_and_a_plain_call_run_the_coroutine(app: AsyncioCelery) -> None:
    @app.task(bind=True)
    async def double(self: Any, x: int) -> tuple[int, bool]:
        await asyncio.sleep(0)
        return x * 2, self.request.is_eager

    assert double.apply((2,)).get() == (4, True)
    assert double(2) == (4, False)


def test_an_eager_retry_runs_again(app: AsyncioCelery) -> None:
    @app.task(bind=True, max_retries=2)
    async def third_time(self: Any) -> int:
        if self.request.retries < 2:
            raise self.retry(countdown=0)
        return int(self.request.retries)

    assert third_time.apply().get() == 2


async def test_in_a_coroutine_a_task_can_be_awaited(app: AsyncioCelery) -> None:
    @app.task
    async def triple(x: int) -> int:
        await asyncio.sleep(0)
        return x * 3

    assert await triple(2) == 6
    assert (await asyncio.to_thread(triple.apply, (2,))).get() == 6
    with pytest.raises(RuntimeError, match="await_\\(\\) was called on a running loop"):
        triple.apply((2,)).get()


def test_await_outside_a_worker_runs_the_coroutine() -> None:
    async def answer() -> int:
        await asyncio.sleep(0)
        return 42

    assert await_(answer()) == 42


def test_pydantic_and_typing_see_the_signature_of_the_coroutine(app: AsyncioCelery) -> None:
    @app.task(pydantic=True)
    async def next_invoice(invoice: Invoice) -> Invoice:
        return Invoice(number=invoice.number + 1)

    assert next_invoice.apply(({"number": 1},)).get() == {"number": 2}
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        next_invoice.apply_async(())


def test_a_task_made_twice_is_not_called_a_duplicate(app: AsyncioCelery) -> None:
    @shared_task(name="twice")
    async def twice() -> None: ...

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        app.finalize()
        for other in (AsyncioCelery("other", set_as_current=False), app):
            other.finalize()
            assert other.tasks["twice"].apply().get() is None


def test_a_base_class_is_kept(app: AsyncioCelery) -> None:
    class Base(celery.Task):  # type: ignore[type-arg]
        def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
            self.started = task_id

    @app.task(base=Base, bind=True)
    async def based(self: Any) -> bool:
        return bool(self.started == self.request.id)

    assert based.apply().get() is True


def test_what_cannot_be_a_task_is_refused(app: AsyncioCelery) -> None:
    async def generator() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(TypeError, match="an async generator cannot be a task"):
        app.task(lazy=False, shared=False)(generator)

    def nothing() -> None: ...

    class Called(celery.Task):  # type: ignore[type-arg]
        async def __call__(self) -> None: ...

    with pytest.raises(TypeError, match="__call__ cannot be async"):
        app.task(lazy=False, shared=False, base=Called)(nothing)  # shared, it would meet each later app
