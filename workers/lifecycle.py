"""What a worker process holds open from its start to its end: the World.

Celery's process signals are sent inside the pool's loop, so clients open and close where they are used.
"""

from __future__ import annotations

import gc
import random
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import structlog
from celery.signals import worker_process_init, worker_process_shutdown

from config.catalogue import load_catalogue
from config.files import BadConfig
from config.prices import load_prices
from config.settings import Settings
from config.stack import NotConfigured, claude_address
from tasks import ports
from tasks.ports import World
from workers.claude import ClaudeClient
from workers.ledger import GroupedLedger, LedgerError, new_id
from workers.pool import await_

SPARE_CONNECTIONS = 16
"""Beyond one for each slot: a cancelled call gives its connection back a moment after its slot."""

log = structlog.get_logger("docmill.lifecycle")
_open = AsyncExitStack()


def connect() -> None:
    """Have Celery open and close the World with the worker process."""
    worker_process_init.connect(_start)
    worker_process_shutdown.connect(_stop)


def _start(**_: object) -> None:
    try:
        ports.use(await_(open_world(Settings(), _open)))
    except (BadConfig, NotConfigured, LedgerError) as error:
        # Celery only logs what a signal's handler raises, and would take jobs without a World to do them in.
        raise SystemExit(f"docmill worker: {error}") from None
    calm_the_collector()


def calm_the_collector() -> None:
    """Have the garbage collector look at what calls leave behind, and not at the modules again and again.

    The defaults suit a small heap: with a hundred calls in flight they start a pass every few calls, each over all that
    the libraries loaded. Measured with `scripts.bench.overhead`: a tenth to a fifth of a worker's CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def _stop(**_: object) -> None:
    ports.use(None)
    await_(_open.aclose())


async def open_world(settings: Settings, stack: AsyncExitStack) -> World:
    """Open the ledger and the client to Claude; `stack` closes them.

    Raises `BadConfig`, `NotConfigured` or `LedgerError`, each with one line for a person.
    """
    catalogue = load_catalogue(settings.home)
    base_url, api_key = claude_address(settings)
    slots = sum(lane.concurrency for lane in catalogue.lanes.values())
    ledger = await stack.enter_async_context(
        await GroupedLedger.open(settings.ledger_url, owner_timeout_s=settings.owner_timeout_s)
    )
    claude = await stack.enter_async_context(
        ClaudeClient(settings, base_url=base_url, api_key=api_key, connections=slots + SPARE_CONNECTIONS)
    )
    log.info("worker.open", owner=ledger.owner, slots=slots, simulated=settings.simulated)
    return World(
        settings=settings,
        catalogue=catalogue,
        prices=load_prices(settings.home),
        ledger=ledger,
        claude=claude,
        now=lambda: datetime.now(UTC),
        draw=random.random,
        new_id=new_id,
    )
