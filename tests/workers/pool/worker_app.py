"""The application that the pool's tests run in real worker processes.

Its settings come as JSON in POOL_TEST_SETTINGS. Tasks leave notes in Redis lists, which the tests wait for.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import threading
import time
from contextvars import ContextVar
from typing import Any

import celery
import redis.asyncio
from celery import current_task, shared_task
from celery.signals import task_postrun, task_prerun, worker_process_init, worker_process_shutdown
from kombu.message import Message
from pydantic import BaseModel

from workers.pool import AsyncioCelery, await_
from workers.pool.job import Job
from workers.transport import install

app = AsyncioCelery("pool_tests", set_as_current=True)
app.conf.update(json.loads(os.environ.get("POOL_TEST_SETTINGS", "{}")))
if app.conf.get("mended_transport"):
    install(app)

clients: dict[str, redis.asyncio.Redis] = {}
gates: dict[str, asyncio.Future[Any]] = {}
seen: dict[str, Any] = {"ack_threads": [], "loop_threads": [], "spans": []}
mark: ContextVar[str] = ContextVar("mark", default="unmarked")


async def note(key: str, *values: object) -> None:
    """Leave values in a Redis list."""
    await clients["notes"].rpush(key, *[json.dumps(value) for value in values])


@worker_process_init.connect
def open_clients(**_: object) -> None:
    async def connect() -> redis.asyncio.Redis:
        pool = redis.asyncio.BlockingConnectionPool.from_url(app.conf.notes_url, max_connections=20, timeout=30)
        client = redis.asyncio.Redis.from_pool(pool)
        await client.ping()
        return client

    if app.conf.get("refuses_to_start"):
        raise SystemExit("no database")
    clients["notes"] = await_(connect())
    seen["init_thread"] = threading.current_thread().name


@worker_process_shutdown.connect
def close_clients(**_: object) -> None:
    async def close() -> None:
        await note(f"{app.conf.task_default_queue}:closed", threading.current_thread().name)
        await clients["notes"].aclose()

    await_(close())


stock_ack = Message.ack


def watched_ack(self: Message, *args: Any, **kwargs: Any) -> Any:
    seen["ack_threads"].append(threading.current_thread().name)
    return stock_ack(self, *args, **kwargs)


setattr(Message, stock_ack.__name__, watched_ack)


@app.task
async def add(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


@app.task
async def jobs_in_memory() -> int:
    """How many there are; the garbage collector does no more from now on."""
    gc.disable()
    return sum(isinstance(thing, Job) for thing in gc.get_objects())


@app.task
async def nap(seconds: float, key: str = "") -> str:
    """Sleep; says on the list what became of it."""
    started = time.time()
    me = current_task.request.id
    try:
        if key:
            await note(key, ["started", me])  # whose reader may cancel us before we hear that it is there
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        if key:
            await note(key, ["cancelled", me])
        raise
    seen["spans"].append((started, time.time()))
    if key:
        await note(key, ["ended", me])
    return "slept"


@app.task
async def nap_until(gate: str, key: str) -> None:
    """Sleep until something is on the list `gate`, where it stays; says on the other list when it begins and ends."""
    me = current_task.request.id
    await note(key, ["started", me])
    if gate not in gates:  # one connection for all that wait there
        gates[gate] = asyncio.ensure_future(clients["notes"].blmove(gate, gate, timeout=0))
    await asyncio.shield(gates[gate])
    await note(key, ["ended", me])


@app.task
def recall(name: str) -> Any:
    """What this worker process has seen."""
    return seen[name]


@app.task(bind=True)
async def who_am_i(self: Any, value: str) -> list[str]:
    """The request as seen from everywhere in the task; all must be this task's id."""
    before = mark.get()
    mark.set(value)

    async def child() -> str:
        await asyncio.sleep(0.01)
        return f"{self.request.id} {current_task.request.id} {mark.get()}"

    def in_thread() -> str:
        time.sleep(0.01)
        return f"{self.request.id} {current_task.request.id} {mark.get()}"

    await asyncio.sleep(0.05)
    answers = [await child(), *await asyncio.gather(child(), child()), await asyncio.to_thread(in_thread)]
    async with asyncio.TaskGroup() as group:
        children = [group.create_task(child()) for _ in range(2)]
    answers += [done.result() for done in children]
    assert before == "unmarked", before
    return answers


@app.task
def plain(seconds: float) -> str:
    time.sleep(seconds)
    return threading.current_thread().name


@app.task
async def block_the_loop(seconds: float) -> None:
    time.sleep(seconds)  # noqa: ASYNC251 - on purpose


@app.task
async def block_the_loop_in_a_child(seconds: float) -> None:
    async def child() -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - on purpose

    await asyncio.gather(child(), child())


@app.task
async def stubborn(seconds: float, key: str) -> str:
    """Swallows its cancellation and goes on."""
    end = time.monotonic() + seconds
    noted = asyncio.create_task(note(key, "started"))
    while time.monotonic() < end:
        try:
            await asyncio.sleep(end - time.monotonic())
        except asyncio.CancelledError:
            await note(key, "ignored")
    await noted
    return "went on"


@app.task(bind=True, max_retries=3, default_retry_delay=0)
async def retries_off_the_loop(self: Any, times: int) -> list[Any]:
    if self.request.retries < times:
        raise await asyncio.to_thread(self.retry, countdown=0, throw=False)
    return [self.request.retries, self.request.id]


@app.task(bind=True, max_retries=3)
async def retries_plainly(self: Any, times: int) -> int:
    if self.request.retries < times:
        raise self.retry(countdown=0)
    return int(self.request.retries)


@app.task(autoretry_for=(ValueError,), max_retries=3, retry_backoff=False, default_retry_delay=0)
async def retries_by_itself(key: str) -> int:
    tries = await clients["notes"].incr(key)
    if tries < 3:
        raise ValueError(tries)
    return int(tries)


@app.task
async def sends(x: int) -> str:
    result = await asyncio.to_thread(add.delay, x, 1)
    return str(result.id)


@app.task
async def waits_for_another(x: int) -> int:
    result = await asyncio.to_thread(add.delay, x, 1)
    return int(await asyncio.to_thread(result.get, timeout=20))


@app.task
async def awaits_another(x: int) -> int:
    return int(await add(x, 1))


@app.task
async def applies_another(x: int) -> int:
    return int((await asyncio.to_thread(add.apply, (x, 1))).get(disable_sync_subtasks=False))


class Invoice(BaseModel):
    number: int


@app.task(pydantic=True)
async def models(invoice: Invoice) -> Invoice:
    await asyncio.sleep(0)
    return Invoice(number=invoice.number + 1)


@shared_task
async def shared(x: int) -> int:
    await asyncio.sleep(0)
    return x * 2


class Doubler(celery.Task):  # type: ignore[type-arg]
    name = "doubler"

    async def run(self, x: int) -> int:
        await asyncio.sleep(0)
        return x * 2


class Quadrupler(Doubler):
    name = "quadrupler"

    async def run(self, x: int) -> int:
        return 2 * await super().run(x)


app.register_task(Doubler())
app.register_task(Quadrupler)


@app.task
async def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task
async def fails() -> None:
    raise LookupError("not here")


@app.task
async def escapes(name: str) -> None:
    errors: dict[str, type[BaseException]] = {
        "SystemExit": SystemExit,
        "KeyboardInterrupt": KeyboardInterrupt,
        "CancelledError": asyncio.CancelledError,
        "MemoryError": MemoryError,
        "GeneratorExit": GeneratorExit,
    }
    raise errors[name]


@app.task
async def child_escapes() -> None:
    async def child() -> None:
        await asyncio.sleep(0.01)
        raise SystemExit(3)

    await asyncio.gather(child())


@app.task
def plain_exits() -> None:
    raise SystemExit(3)


@app.task(soft_time_limit=1)
async def softly_limited(key: str) -> None:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        await note(key, "cancelled")
        raise


@app.task(soft_time_limit=1)
async def wraps_up(key: str) -> str:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        await asyncio.sleep(0.05)
    return "wrapped up"


@app.task(soft_time_limit=1, autoretry_for=(Exception,), max_retries=1, default_retry_delay=0)
async def retries_after_its_limit(key: str) -> str:
    if await clients["notes"].incr(key) == 1:
        await asyncio.sleep(60)
    return "second try"


@app.task(time_limit=1)
async def hard_limited(key: str) -> None:
    await note(key, "started")
    await asyncio.sleep(60)


@app.task(time_limit=1)
async def hard_limited_and_stubborn(key: str) -> None:
    await note(key, "started")
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await note(key, "ignored")


@app.task(time_limit=1)
def plain_hard_limited() -> None:
    time.sleep(30)


@app.task(rate_limit="5/s")
async def rated(key: str) -> None:
    await note(key, time.time())


@task_prerun.connect
def before(task_id: str, **_: object) -> None:
    seen["loop_threads"].append(threading.current_thread().name)


@task_postrun.connect
def after(task: Any, task_id: str, **_: object) -> None:
    assert task.request.id == task_id
