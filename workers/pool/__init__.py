"""An asyncio worker pool for Celery: `async def` tasks, hundreds to thousands in flight in one process.

    app = AsyncioCelery("docmill")
    app.conf.worker_pool = "workers.pool:AsyncioPool"
    app.conf.worker_drain_timeout_s = 30.0      # how long a stopping worker lets running tasks finish

One asyncio loop runs in its own thread. Celery's synchronous tracer, which holds retry, acks, signals, results and
chains, is left as it is and run in one greenlet per task on that thread; a coroutine it calls is awaited by the asyncio
task around the greenlet. Read in this order: `bridge`, `app`, `job`, `pool`.

    main thread    Celery's consumer: broker, acks, requests        AsyncioPool.on_apply
         |  ^
         v  |      Mailbox each way: one wake-up for many items
    loop thread    Job -> bridge -> tracer -> body                  plain `def` tasks: tracer in a thread

This package leaves to others: what the tasks do, and the broker's messages (`workers.transport`).
"""

from workers.pool.app import AsyncioCelery
from workers.pool.bridge import await_
from workers.pool.pool import AsyncioPool

__all__ = ["AsyncioCelery", "AsyncioPool", "await_"]
