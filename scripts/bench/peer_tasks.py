"""The work of `scripts.bench.overhead` on other task queues. Run by `scripts.bench.peers`, in a Python that has them.

    PYTHON peer_tasks.py taskiq check | submit | worker

A file of its own that imports nothing of docmill's. Each queue is set up as its own documentation does it, on Redis,
with results kept; the task asks Claude through the same SDK and returns the text. `submit` reads JSON strings, one
document a line. `BENCH_SETUP` holds the Redis URL, the API's address, the number in flight and the request.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

SETUP: dict[str, Any] = json.loads(os.environ.get("BENCH_SETUP", "{}"))


class Peer(ABC):
    """A task queue: how to put documents in, and how to work them off until the process is ended."""

    @abstractmethod
    def submit(self, documents: list[str]) -> None:
        """Enqueue a job for each document."""

    @abstractmethod
    def work(self) -> None:
        """Be a worker."""


class Taskiq(Peer):
    """taskiq, with a Redis stream that is acknowledged."""

    def __init__(self) -> None:
        from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

        self.broker = RedisStreamBroker(SETUP["redis"]).with_result_backend(RedisAsyncResultBackend(SETUP["redis"]))
        ask = AsyncAsker()

        async def answer(document: str) -> str:
            return await ask(document)

        self.task = self.broker.task(task_name="ask")(answer)

    def submit(self, documents: list[str]) -> None:
        """See `Peer`."""

        async def submit() -> None:
            await self.broker.startup()
            for document in documents:
                await self.task.kiq(document)
            await self.broker.shutdown()

        asyncio.run(submit())

    def work(self) -> None:
        """See `Peer`."""
        import uvloop
        from taskiq.api import run_receiver_task

        self.broker.is_worker_process = True
        uvloop.run(run_receiver_task(self.broker, run_startup=True, max_async_tasks=SETUP["in_flight"]))


class Arq(Peer):
    """arq."""

    def submit(self, documents: list[str]) -> None:
        """See `Peer`."""
        from arq import create_pool
        from arq.connections import RedisSettings

        async def submit() -> None:
            pool = await create_pool(RedisSettings.from_dsn(SETUP["redis"]))
            for document in documents:
                await pool.enqueue_job("ask", document)

        asyncio.run(submit())

    def work(self) -> None:
        """See `Peer`."""
        import uvloop
        from arq import func
        from arq.connections import RedisSettings
        from arq.worker import Worker

        ask = AsyncAsker()

        async def answer(_: object, document: str) -> str:
            return await ask(document)

        asyncio.set_event_loop(uvloop.new_event_loop())
        settings = RedisSettings.from_dsn(SETUP["redis"])
        Worker([func(answer, name="ask")], redis_settings=settings, max_jobs=SETUP["in_flight"]).run()


class Saq(Peer):
    """saq, with a connection to Redis for each job in flight: it fails on the client's default limit."""

    def queue(self) -> Any:  # noqa: ANN401 - no type of it is there when docmill is checked
        """The queue."""
        from redis.asyncio import Redis
        from saq.queue.redis import RedisQueue

        return RedisQueue(Redis.from_url(SETUP["redis"], max_connections=2 * SETUP["in_flight"] + 50))

    def submit(self, documents: list[str]) -> None:
        """See `Peer`."""

        async def submit() -> None:
            queue = self.queue()
            for document in documents:
                await queue.enqueue("ask", document=document)

        asyncio.run(submit())

    def work(self) -> None:
        """See `Peer`."""
        import uvloop
        from saq import Worker

        ask = AsyncAsker()

        async def answer(_: object, *, document: str) -> str:
            return await ask(document)

        async def work() -> None:
            worker = Worker(self.queue(), [("ask", answer)], concurrency=SETUP["in_flight"])
            await worker.start()

        uvloop.run(work())


class Streaq(Peer):
    """streaq."""

    def __init__(self) -> None:
        from streaq import Worker

        ask = AsyncAsker()
        self.worker = Worker(redis_url=SETUP["redis"], concurrency=SETUP["in_flight"])

        async def answer(document: str) -> str:
            return await ask(document)

        self.task = self.worker.task(name="ask")(answer)

    def submit(self, documents: list[str]) -> None:
        """See `Peer`."""

        async def submit() -> None:
            async with self.worker:
                for document in documents:
                    await self.task.enqueue(document)

        asyncio.run(submit())

    def work(self) -> None:
        """See `Peer`."""
        import uvloop

        uvloop.run(self.worker.run_async())


class CeleryThreads(Peer):
    """Celery's own thread pool, with messages acknowledged late; the SDK's client without asyncio."""

    def __init__(self) -> None:
        from celery import Celery

        self.app = Celery("bench", broker=SETUP["redis"], backend=SETUP["redis"])
        self.app.conf.update(task_acks_late=True, worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True)
        ask = Asker()

        def answer(document: str) -> str:
            return ask(document)

        self.task = self.app.task(name="ask")(answer)

    def submit(self, documents: list[str]) -> None:
        """See `Peer`."""
        for document in documents:
            self.task.delay(document)

    def work(self) -> None:
        """See `Peer`."""
        count = str(SETUP["in_flight"])
        self.app.worker_main(["worker", "--pool=threads", f"--concurrency={count}", "--loglevel=warning"])


class Asker:
    """The work: one request to Claude. The client is made at the first, inside the loop that uses it."""

    def __init__(self) -> None:
        self.client: Any = None

    def request(self, document: str) -> Mapping[str, Any]:
        """What `messages.create` is given."""
        texts = (f"<document>\n{document}\n</document>", SETUP["instruction"])
        content = [{"type": "text", "text": text} for text in texts]
        return {**SETUP["request"], "messages": [{"role": "user", "content": content}]}

    def __call__(self, document: str) -> str:
        """The answer's text."""
        if self.client is None:
            import anthropic

            self.client = anthropic.Anthropic(api_key="bench", base_url=SETUP["api"], max_retries=0)
        message = self.client.messages.create(**self.request(document))
        return "".join(block.text for block in message.content)


class AsyncAsker(Asker):
    """The same for coroutines, over the same HTTP client as the bare calls."""

    async def __call__(self, document: str) -> str:  # type: ignore[override]  # a coroutine of the same
        """The answer's text."""
        if self.client is None:
            import anthropic
            import httpx2

            limits = httpx2.Limits(max_connections=SETUP["in_flight"], keepalive_expiry=5)
            self.client = anthropic.AsyncAnthropic(
                api_key="bench",
                base_url=SETUP["api"],
                max_retries=0,
                http_client=anthropic.DefaultAioHttpClient(limits=limits),
                open_telemetry=False,
            )
        message = await self.client.messages.create(**self.request(document))
        return "".join(block.text for block in message.content)


PEERS: dict[str, tuple[Callable[[], Peer], tuple[str, ...]]] = {
    "taskiq": (Taskiq, ("taskiq", "taskiq_redis")),
    "arq": (Arq, ("arq",)),
    "saq": (Saq, ("saq",)),
    "streaq": (Streaq, ("streaq",)),
    "celery-threads": (CeleryThreads, ("celery", "redis")),
}
"""How to make it, and what it imports."""
ALL_NEED = ("anthropic", "aiohttp", "uvloop")


def main(name: str, action: str) -> None:
    """Do one thing."""
    make, modules = PEERS[name]
    if action == "check":
        for module in (*modules, *ALL_NEED):
            __import__(module)
    elif action == "submit":
        make().submit([json.loads(line) for line in sys.stdin])
    else:
        make().work()


if __name__ == "__main__":
    main(*sys.argv[1:])
