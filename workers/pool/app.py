"""A Celery application whose tasks may be `async def`.

Coroutine functions are wrapped when Celery makes the task, before its pydantic and autoretry wrappers, so those see an
ordinary function. Blocking calls that Celery's tracer makes around a body (storing a result, publishing the next task
of a chain) are made in a thread, so that they do not stop the loop.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, TypeGuard, TypeVar

from celery import Celery
from celery._state import get_current_task
from celery.app.task import Task
from celery.backends.base import Backend, DisabledBackend
from celery.result import AsyncResult

from workers.pool import bridge
from workers.pool.current import current_job, follow_the_job

AnyTask = TypeVar("AnyTask", bound=Task[Any, Any])

BLOCKING_BACKEND_CALLS = ("store_result", "on_chord_part_return", "get_task_meta")


class AsyncioCelery(Celery):
    """A Celery application for `AsyncioPool`; with other pools and in a shell its coroutine tasks run too.

    `app.task`, `shared_task`, `pydantic=True`, `autoretry_for` and class-based tasks (`async def run`) work as usual.
    """

    def _task_from_fun(self, fun: Callable[..., object], *args: Any, **options: Any) -> Task[Any, Any]:
        if inspect.isasyncgenfunction(fun):
            raise TypeError(f"task {fun.__qualname__}: an async generator cannot be a task; return a list")
        task = super()._task_from_fun(synchronous(fun) if is_async(fun) else fun, *args, **options)
        return prepared(task, runs_on_loop=is_async(fun))

    def register_task(self, task: AnyTask | type[AnyTask], **options: Any) -> AnyTask:
        """Register a class-based task (an instance, or its class); its `run` may be `async def`."""
        made = task() if isinstance(task, type) else task
        runs_on_loop = is_async(made.run)
        if runs_on_loop:
            # On the instance, so that a subclass still awaits super().run().
            made.run = synchronous(made.run)  # type: ignore[method-assign]
        return prepared(super().register_task(made, **options), runs_on_loop=runs_on_loop)

    def send_task(self, *args: Any, **kwargs: Any) -> AsyncResult[Any]:
        """Publish a task, as Celery does; a publish made by the tracer does not block the loop."""
        return bridge.off_loop(super().send_task, *args, **kwargs)

    def _get_backend(self) -> Backend:
        backend: Backend = super()._get_backend()  # type: ignore[misc]  # missing in the stubs
        if not isinstance(backend, DisabledBackend):
            for name in BLOCKING_BACKEND_CALLS:
                setattr(backend, name, functools.partial(bridge.off_loop, getattr(backend, name)))
        return backend


def is_async(fun: Callable[..., object]) -> TypeGuard[Callable[..., Coroutine[Any, Any, object]]]:
    """Whether calling it gives a coroutine."""
    return inspect.iscoroutinefunction(fun)


def prepared(task: AnyTask, *, runs_on_loop: bool) -> AnyTask:
    """Tell the pool where the task's body runs, and make its request follow the job."""
    if is_async(type(task).__call__):
        raise TypeError(f"task {task.name}: __call__ cannot be async; make run() async instead")
    task.runs_on_loop = runs_on_loop  # type: ignore[attr-defined]  # ours
    follow_the_job(task)
    return task


@functools.cache  # Celery makes a lazy task more than once and compares its functions by identity
def synchronous(fun: Callable[..., Coroutine[Any, Any, object]]) -> Callable[..., object]:
    """An ordinary function that runs the coroutine to its end; in a coroutine of yours, `await task(...)`."""

    @functools.wraps(fun)
    def body(*args: object, **kwargs: object) -> object:
        job = current_job.get()
        if job is not None and bridge.inside():
            return bridge.await_(job.run_body(fun(*args, **kwargs)))
        if bridge.loop_runs_here() and not runs_eagerly():
            return fun(*args, **kwargs)
        return bridge.await_(fun(*args, **kwargs))

    body.__signature__ = inspect.signature(fun)  # type: ignore[attr-defined]  # Celery checks arguments against it
    return body


def runs_eagerly() -> bool:
    """Whether `task.apply()` is what calls the body: it wants the result, not something to await."""
    task: Task[Any, Any] | None = get_current_task()
    return task is not None and bool(task.request.is_eager)
