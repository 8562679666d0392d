"""Which job the running code belongs to, so that `self.request` and `current_task` are right everywhere in it.

Celery keeps the current task and request in stacks with one entry per thread or greenlet. A job's code runs in several:
its greenlet, the asyncio tasks it starts (gather, TaskGroup), the threads of `asyncio.to_thread`. All of them carry a
copy of the job's context, so there the job is the key.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from celery._state import _task_stack  # type: ignore[attr-defined]  # pinned by a contract test
from celery.utils.threads import get_ident

if TYPE_CHECKING:
    from celery.app.task import Task

    from workers.pool.job import Job

current_job: ContextVar[Job | None] = ContextVar("current_job", default=None)


def identity() -> object:
    """The job this code belongs to; outside of one, what Celery uses: the greenlet."""
    return current_job.get() or get_ident()


def follow_the_job(task: Task[Any, Any]) -> None:
    """Make a task's request stack, and the stack of current tasks, go by the job."""
    for stack in (task.request_stack, _task_stack):
        stack.__ident_func__ = identity  # type: ignore[misc]  # has a setter
