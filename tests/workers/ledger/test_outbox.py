"""The outbox on both databases: told once by key, tried by one, never lost; and what the ledger sees of trouble."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from tasks.model.alert import Alert
from tasks.model.fault import Rejected
from tasks.model.verdict import Bury
from tests.workers.ledger.samples import submit
from tests.workers.ledger.test_moving import Worker
from workers.ledger import Books, Database, read_alerts
from workers.ledger.tables import jobs

ALERT = Alert("budget.soft/day//2026-11-22/80", "budget.soft", "83 % used", "Next: docmill costs", {"percent": 83})
CHANNELS = ["log", "ops"]


@pytest.fixture
def books(database: Database) -> Books:
    return Books(database)


async def test_a_key_is_told_once_through_each_channel_whoever_asks(database: Database, books: Books) -> None:
    told = await asyncio.gather(*(books.tell([ALERT, replace(ALERT, subject="again")], CHANNELS) for _ in range(4)))
    assert sum(len(ids) for ids in told) == 1
    assert await books.tell([ALERT], CHANNELS) == []
    (line,) = read_alerts(database, 10)
    assert (line.kind, line.detail) == ("budget.soft", {"percent": 83})
    assert [(each.channel, each.tries, each.sent_at) for each in line.deliveries] == [
        ("log", 0, None),
        ("ops", 0, None),
    ]


async def test_a_delivery_is_taken_by_one_and_comes_back_where_he_dies(books: Books, database: Database) -> None:
    await books.tell([ALERT], ["ops"])
    (found,) = await books.due(10)
    assert (found.alert, found.channel, found.tries) == (ALERT, "ops", 0)
    assert sorted(await asyncio.gather(*(books.take(found, 60) for _ in range(4)))) == [False, False, False, True]
    assert await books.due(10) == []
    later = Books(database, now=lambda: database.now() + timedelta(seconds=61))
    (again,) = await later.due(10)
    assert again.tries == 1
    assert await later.take(again, 60)


async def test_what_was_sent_is_not_due_and_a_late_failure_does_not_undo_it(books: Books, database: Database) -> None:
    await books.tell([ALERT], ["ops"])
    (found,) = await books.due(10)
    assert await books.take(found, 0)
    await books.sent(found)
    await books.failed(found, "no answer within 20 s", database.now())
    assert await books.due(10) == []
    ((way,),) = (line.deliveries for line in read_alerts(database, 1))
    assert way.sent_at is not None
    assert way.error is None


async def test_what_failed_is_due_when_it_is_said_or_given_up(books: Books, database: Database) -> None:
    await books.tell([ALERT], ["ops"])
    (found,) = await books.due(10)
    await books.take(found, 60)
    await books.failed(found, "HTTP 500", database.now())
    (again,) = await books.due(10)
    await books.take(again, 60)
    await books.failed(again, "HTTP 500", None)
    assert await books.due(10) == []
    ((way,),) = (line.deliveries for line in read_alerts(database, 1))
    assert (way.tries, way.next_at, way.sent_at, way.error) == (2, None, None, "HTTP 500")


async def test_a_channel_with_many_waiting_leaves_room_for_the_others(books: Books) -> None:
    await books.tell([replace(ALERT, key=f"a{number}") for number in range(30)], ["ops"])
    await books.tell([replace(ALERT, key="b")], ["chat"])
    found = await books.due(5)
    assert sorted(delivery.channel for delivery in found) == ["chat", *["ops"] * 5]


async def test_dead_letters_are_counted_since_they_were_last_told_of(books: Books, database: Database) -> None:
    worker = Worker(database, "worker-a")

    def bury(text: str) -> None:
        _, (added,) = submit(database, [text])
        worker.settle(worker.must_claim(added.job_id), Bury(Rejected("400")))

    worker.late = -timedelta(hours=2)
    bury("long ago")
    worker.late = timedelta()
    bury("a")
    bury("b")
    seen = await books.trouble()
    assert (seen.dead_letters, seen.letters_told_at) == (2, None)
    await books.tell([replace(ALERT, kind="dead_letters")], CHANNELS)
    bury("c")
    seen = await books.trouble()
    assert seen.dead_letters == 1
    assert seen.letters_told_at is not None


async def test_the_oldest_job_that_never_had_a_turn_is_seen(books: Books, database: Database) -> None:
    _, (claimed, old, replayed) = submit(database, ["a", "b", "c"])
    Worker(database, "worker-a").must_claim(claimed.job_id)
    ages = {claimed.job_id: 9, old.job_id: 5, replayed.job_id: 7}

    def age(job_id: str, hours: int, generation: int) -> None:
        values = {"created_at": database.now() - timedelta(hours=hours), "generation": generation}
        database.write(lambda connection: connection.execute(update(jobs).where(jobs.c.id == job_id).values(values)))

    for job_id, hours in ages.items():
        age(job_id, hours, generation=1 if job_id == replayed.job_id else 0)
    seen = await books.trouble()
    waited = database.now() - seen.waiting_since["low"]
    assert waited // timedelta(hours=1) == 5
