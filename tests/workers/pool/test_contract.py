"""The private names of Celery and kombu that the pool leans on. An upgrade that changes one fails here, by its name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery, _state
from celery.app.task import Task
from celery.app.trace import build_tracer, fast_trace_task
from celery.backends.base import Backend
from celery.concurrency import prefork
from celery.concurrency.base import BasePool
from celery.utils.threads import LocalStack
from celery.worker import request as worker_request
from celery.worker import state
from celery.worker.components import Pool
from celery.worker.consumer import Consumer
from celery.worker.request import Request
from greenlet import greenlet
from kombu.asynchronous import Hub
from kombu.asynchronous.semaphore import LaxBoundedSemaphore


def internal(module: Any) -> Any:
    """The same module; its stubs leave out what we look for."""
    return module


def source(thing: Any) -> str:
    return inspect.getsource(thing)


def test_local_stack_ident_func_can_be_replaced() -> None:
    stack: Any = LocalStack()
    who: list[str] = ["one"]
    stack.__ident_func__ = lambda: who[0]
    stack.push("first")
    who[0] = "two"
    assert len(stack) == 0
    who[0] = "one"
    assert len(stack) == 1
    assert isinstance(internal(_state)._task_stack, type(stack))


def test_a_task_has_its_request_stack_when_it_is_made() -> None:
    app = Celery("contract", set_as_current=False)

    def nothing() -> None: ...

    task = app.task(lazy=False)(nothing)
    assert isinstance(task.request_stack, type(internal(_state)._task_stack))


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (Celery, "_task_from_fun", ["fun", "name", "base", "bind", "pydantic"]),
        (Celery, "_get_backend", []),
        (Celery, "register_task", ["task"]),
        (Celery, "send_task", ["name", "args", "kwargs"]),
        (Backend, "store_result", ["task_id", "result", "state"]),
        (Backend, "on_chord_part_return", ["request", "state", "result"]),
        (Backend, "get_task_meta", ["task_id"]),
        (BasePool, "apply_async", ["target", "args", "kwargs"]),
        (BasePool, "flush", []),
        (BasePool, "_get_info", []),
        (Consumer, "on_close", []),
        (Request, "cancel", ["pool", "signal", "emit_retry"]),
        (Request, "on_accepted", ["pid", "time_accepted"]),
        (Request, "on_timeout", ["soft", "timeout"]),
        (Request, "on_success", ["failed__retval__runtime"]),
        (Request, "on_failure", ["exc_info"]),
        (Task, "on_bound", ["app"]),
        (Hub, "call_soon", ["callback"]),
        (Hub, "fire_timers", []),
        (LaxBoundedSemaphore, "release", []),
    ],
)
def test_method(owner: type, name: str, parameters: list[str]) -> None:
    found = [p for p in inspect.signature(getattr(owner, name)).parameters if p not in {"self", "cls"}]
    assert found[: len(parameters)] == parameters, f"{owner.__name__}.{name} has changed"


def test_run_ready_callbacks_of_prefork() -> None:
    assert list(inspect.signature(internal(prefork)._run_ready_callbacks).parameters) == ["hub"]


@pytest.mark.parametrize("execute", [Request.execute_using_pool, internal(worker_request).create_request_cls])
def test_keywords_of_on_apply(execute: Callable[..., Any]) -> None:
    for keyword in (
        "accept_callback=self.on_accepted",
        "timeout_callback=self.on_timeout",
        "callback=self.on_success",
        "error_callback=self.on_failure",
        "soft_timeout=",
        "timeout=",
    ):
        assert keyword in source(execute), f"{execute.__qualname__} no longer passes {keyword}"


def test_first_arguments_of_the_tracer_are_name_and_id() -> None:
    assert list(inspect.signature(fast_trace_task).parameters)[:3] == ["task", "uuid", "request"]


def test_the_tracer_lets_no_exception_of_a_body_out_and_others_through() -> None:
    assert "except BaseException:\n                    raise" in source(build_tracer)


def test_terminate_goes_by_worker_pid() -> None:
    for method in (Request.terminate, Request.cancel):
        assert "pool.terminate_job(self.worker_pid, signal)" in source(method)
        assert "obj.terminate(signal)" in source(method)


def test_options_of_the_pool() -> None:
    for option in ("semaphore=semaphore", "initargs=(w.app, w.hostname)", "soft_timeout=w.soft_time_limit"):
        assert option in source(Pool.create)


def test_a_lost_connection_clears_the_semaphore_and_then_flushes_the_pool() -> None:
    body = source(Consumer.on_close)
    assert body.index("semaphore.clear()") < body.index("self.pool.flush()")


def test_state_of_a_semaphore() -> None:
    semaphore = LaxBoundedSemaphore(3)
    assert (semaphore.value, semaphore.initial_value) == (3, 3)
    semaphore.value = 0
    semaphore.release()
    assert semaphore.value == 1


def test_worker_state() -> None:
    assert hasattr(state, "active_requests")
    assert hasattr(state, "should_terminate")


def test_waking_the_hub_from_another_thread_is_safe() -> None:
    assert "_ready_lock" in source(Hub.call_soon)
    assert "wake" in source(Hub.call_soon)


def test_greenlets_can_share_a_context() -> None:
    assert hasattr(greenlet, "gr_context")
