"""When a worker process opens its World, and when it closes it.

Celery's process signals are sent inside the pool's loop, so clients open and close where they are used.
"""

from __future__ import annotations

import asyncio
import gc
from contextlib import AsyncExitStack

import structlog
from celery.concurrency import get_implementation
from celery.signals import worker_init, worker_process_init, worker_process_shutdown
from celery.worker import WorkController

from config.files import BadConfig
from config.schedule import SWEEP_EVERY_S
from config.settings import load_settings
from config.stack import NotConfigured
from tasks import ports
from workers.pool import AsyncioPool, await_

MOST_FILES = 16_384
"""Open files a worker may want: a socket for each call, and a few for the ledger, the broker and logs."""

_open = AsyncExitStack()
log = structlog.get_logger("docmill.lifecycle")


def connect() -> None:
    """Have Celery open and close the World with the worker process."""
    worker_init.connect(_prepare)
    worker_process_init.connect(_start)
    worker_process_shutdown.connect(_stop)


def _prepare(sender: WorkController, **_: object) -> None:
    # A stock pool sends no signal to open the World in.
    if get_implementation(sender.pool_cls) is not AsyncioPool:  # type: ignore[attr-defined]  # missing in the stubs
        raise SystemExit("docmill worker: its jobs run on its own asyncio pool: leave out -P/--pool")

    import workers.world  # noqa: F401 - a second of imports, before there is a loop that they would block

    allow_more_files()


def allow_more_files() -> None:
    """Raise the soft limit of open files: each call under way has a socket, and 1,024 is a common limit."""
    import resource  # not on Windows, where beat and a submitter import this module too

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _start(**_: object) -> None:
    from workers.ledger import LedgerError
    from workers.world import open_world

    try:
        ports.use(await_(open_world(load_settings(), _open)))
    except (BadConfig, NotConfigured, LedgerError) as error:
        # Celery only logs what a signal's handler raises, and would take jobs without a World to do them in.
        raise SystemExit(f"docmill worker: {error}") from None
    await_(_begin_inheriting())
    calm_the_collector()


async def _begin_inheriting() -> None:
    """See to what processes of this machine leave that die: now, while the first jobs come in, and from time to time.

    A sweep may land on another machine each time, which sees that they died and not what they had paid for.
    """
    task = asyncio.create_task(_inherit_on(ports.world()), name="inherit")
    _open.callback(task.cancel)


async def _inherit_on(here: ports.World) -> None:
    from tasks.sweeping import inherit

    while True:
        try:
            await inherit(here)
        except Exception as error:  # noqa: BLE001 - the next turn tries again, and the jobs need not wait for it
            log.warning("inherit.failed", error=type(error).__name__)
        await asyncio.sleep(SWEEP_EVERY_S)


def calm_the_collector() -> None:
    """Have the garbage collector look at what calls leave behind, and not at the modules again and again.

    The defaults suit a small heap: with a hundred calls in flight they start a pass every few calls, each over all that
    the libraries loaded. Measured with `scripts.bench.overhead`: 10,000 saved a tenth to a fifth of a worker's CPU, and
    50,000 a fifteenth more. A job that is done leaves nothing for the collector, and one that failed next to nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _stop(**_: object) -> None:
    ports.use(None)
    await_(_open.aclose())
