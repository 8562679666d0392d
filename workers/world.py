"""Opening everything foreign: the ledger, and the client to Claude.

Importing it takes a second, most of it the SDK's, which beat and Flower need not pay: `workers.lifecycle` does so when
a worker starts.
"""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import structlog
from celery import current_app

from config.catalogue import load_catalogue
from config.prices import load_prices
from config.settings import Settings
from config.stack import claude_address
from tasks.ports import World
from tasks.rules.limiting import Pace
from workers.alerts import Channels, configured
from workers.broker import Broker
from workers.claude import ClaudeClient
from workers.expectations import Expectations, whose_calls
from workers.feeder import Feeder
from workers.lanes import Lanes
from workers.ledger import Books, GroupedLedger, Upkeep, new_id
from workers.limiter import Limiter, Slots, fingerprint
from workers.room import Room
from workers.spool import Spool

SPARE_CONNECTIONS = 16
"""Beyond one for each slot: a cancelled call gives its connection back a moment after its slot."""

log = structlog.get_logger("docmill.world")


async def open_world(settings: Settings, stack: AsyncExitStack) -> World:
    """Open the ledger and the client to Claude, inside the loop that will use them; `stack` closes them.

    Raises `BadConfig`, `NotConfigured` or `LedgerError`, each with one line for a person.
    """
    catalogue = load_catalogue(settings.home)
    channels = Channels(configured(settings))
    base_url, api_key = claude_address(settings)
    slots = sum(catalogue.queues.values())
    ledger = await stack.enter_async_context(
        await GroupedLedger.open(settings.ledger_url, owner_timeout_s=settings.owner_timeout_s)
    )
    spool = Spool(settings.home / "spool", ledger.owner)
    stack.callback(spool.close)
    room = Room(current_app.conf.broker_transport_options["lane_limits"], catalogue.queues, spool.check)
    stack.callback(room.close)
    lane_slots = Slots(current_app.conf.broker_transport_options["lane_limits"], catalogue)
    limiter = await stack.enter_async_context(
        Limiter(
            current_app,
            catalogue,
            lane_slots,
            key=fingerprint(api_key, base_url),
            process=ledger.owner,
            pace=Pace(slow_start=settings.slow_start),
        )
    )
    claude = await stack.enter_async_context(
        ClaudeClient(
            settings,
            base_url=base_url,
            api_key=api_key,
            connections=slots + SPARE_CONNECTIONS,
            observe=limiter.observe,
        )
    )
    lanes = await stack.enter_async_context(
        Lanes(current_app, list(catalogue.queues), claude, lane_slots, longest_pause_s=settings.longest_pause_s)
    )
    expectations = await stack.enter_async_context(
        Expectations.learning(ledger.database, synthetic=whose_calls(settings))
    )
    await stack.enter_async_context(
        Feeder(
            current_app,
            ledger.database,
            catalogue.queues,
            owner_timeout_s=settings.owner_timeout_s,
            zone=settings.time_zone,
        )
    )
    books = Books(ledger.database)
    log.info("worker.open", owner=ledger.owner, slots=slots, simulated=settings.simulated)
    return World(
        settings=settings,
        catalogue=catalogue,
        prices=load_prices(settings.home),
        ledger=ledger,
        upkeep=Upkeep(
            ledger,
            owner_timeout_s=settings.owner_timeout_s,
            job_deadline_s=settings.job_deadline_s,
            suspect=catalogue.suspect.queue,
        ),
        spool=spool,
        broker=Broker(current_app),
        claude=claude,
        lanes=lanes,
        room=room,
        limiter=limiter,
        expectations=expectations,
        books=books,
        outbox=books,
        channels=channels,
        now=lambda: datetime.now(UTC),
        draw=random.random,
        new_id=new_id,
    )
