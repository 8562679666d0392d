"""The ledger as coroutines see it: many writes in one transaction, and what happens when one fails."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import event, text

from tasks.model.fault import Rejected
from tasks.model.job import Job, JobState
from tasks.model.verdict import Bury, Done
from tasks.ports import ClaimLost, Ledger, LedgerUnavailable
from tests.postgres import PostgresServer, postgres_programs
from tests.workers.ledger.samples import ROUTE, answered, call_of, submit
from workers.ledger import (
    Database,
    GroupedLedger,
    LedgerError,
    cancel_jobs,
    health,
    open_database,
    progress,
    story,
    summary,
)
from workers.ledger.moving import Owner

ROOT = Path(__file__).parents[3]
SECRET = "the document's text"


class Unstorable:
    """Goes in no column of numbers, and PostgreSQL quotes it in its error."""

    def __str__(self) -> str:
        return SECRET


@pytest.fixture
async def ledger(url: str) -> AsyncIterator[GroupedLedger]:
    async with await GroupedLedger.open(url, owner_timeout_s=15) as ledger:
        yield ledger


async def claimed(ledger: Ledger, job_id: str, generation: int = 0) -> Job:
    job = await ledger.claim(job_id, generation)
    assert job is not None
    return job


async def run(ledger: Ledger, job_id: str) -> None:
    job = await claimed(ledger, job_id)
    call, shell = call_of(job)
    await ledger.sending(job, call, ROUTE, shell)
    assert await ledger.settle(job, answered(call), Done(f"out of {job.document.text}"))


async def test_two_hundred_jobs_at_once_share_a_few_transactions(database: Database, ledger: GroupedLedger) -> None:
    submission_id, added = submit(database, [f"text {number}" for number in range(200)])
    commits = 0

    @event.listens_for(ledger._database.engine, "commit")
    def count(_: object) -> None:
        nonlocal commits
        commits += 1

    await asyncio.gather(*(run(ledger, one.job_id) for one in added))
    total = summary(database, submission_id)
    assert total is not None
    assert total.states[JobState.DONE] == 200
    assert total.spent.cost_nanousd == 200 * 123
    assert commits < 100  # of 600 writes


async def test_of_many_messages_for_one_job_one_gets_it(database: Database, ledger: GroupedLedger) -> None:
    _, (added,) = submit(database, ["a"])
    claims = await asyncio.gather(*(ledger.claim(added.job_id, 0) for _ in range(20)))
    assert sum(job is not None for job in claims) == 1


async def test_of_two_workers_one_gets_each_job(url: str, database: Database, ledger: GroupedLedger) -> None:
    submission_id, added = submit(database, [f"text {number}" for number in range(100)])
    async with await GroupedLedger.open(url, owner_timeout_s=15) as other:
        claims = await asyncio.gather(*(each.claim(one.job_id, 0) for one in added for each in (ledger, other)))
    won = [job.id for job in claims if job is not None]
    assert sorted(won) == sorted(one.job_id for one in added)
    assert progress(database, submission_id)[JobState.RUNNING] == 100


async def test_only_the_culprit_of_a_failing_group_gets_the_error(database: Database, ledger: GroupedLedger) -> None:
    _, added = submit(database, [f"text {number}" for number in range(20)])
    jobs = await asyncio.gather(*(claimed(ledger, one.job_id) for one in added))
    broken = replace(answered(call_of(jobs[7])[0]), status=Unstorable())  # type: ignore[arg-type] # on purpose
    settling = [ledger.settle(job, broken if job is jobs[7] else None, Done("out")) for job in jobs]
    outcomes = await asyncio.gather(*settling, return_exceptions=True)
    assert isinstance(outcomes[7], LedgerError)
    assert SECRET not in "".join(traceback.format_exception(outcomes[7]))
    assert [outcome for number, outcome in enumerate(outcomes) if number != 7] == [True] * 19


async def test_nothing_may_be_sent_for_a_job_that_was_cancelled(database: Database, ledger: GroupedLedger) -> None:
    _, (added,) = submit(database, ["a"])
    job = await claimed(ledger, added.job_id)
    cancel_jobs(database, [job.id])
    call, shell = call_of(job)
    with pytest.raises(ClaimLost):
        await ledger.sending(job, call, ROUTE, shell)
    assert not await ledger.settle(job, None, Bury(Rejected("no")))
    await ledger.hand_back(job, None)
    told = story(database, job.id)
    assert told is not None
    assert (told.job.state, told.calls) == (JobState.CANCELLED, ())


async def test_a_claim_cancelled_while_it_waits_leaves_the_job_to_others(url: str, database: Database) -> None:
    _, (added,) = submit(database, ["a"])
    async with await GroupedLedger.open(url, owner_timeout_s=15) as ledger:
        claim = asyncio.create_task(ledger.claim(added.job_id, 0))
        await asyncio.sleep(0)
        claim.cancel()
        with pytest.raises(asyncio.CancelledError):
            await claim
    async with await GroupedLedger.open(url, owner_timeout_s=15) as ledger:
        assert await ledger.claim(added.job_id, 0) is not None


async def test_closing_writes_what_waits_and_refuses_what_comes_later(url: str, database: Database) -> None:
    submission_id, added = submit(database, [f"text {number}" for number in range(50)])
    ledger = await GroupedLedger.open(url, owner_timeout_s=15)
    assert health(database).workers == 1
    jobs = await asyncio.gather(*(claimed(ledger, one.job_id) for one in added))
    settling = [asyncio.create_task(ledger.settle(job, None, Done("out"))) for job in jobs]
    await asyncio.sleep(0)
    await ledger.close()
    assert await asyncio.gather(*settling) == [True] * 50
    assert progress(database, submission_id)[JobState.DONE] == 50
    assert health(database).workers == 0
    with pytest.raises(LedgerUnavailable):
        await ledger.claim(added[0].job_id, 0)
    await ledger.close()


async def test_a_worker_reports_itself_three_times_as_often_as_it_must(url: str, database: Database) -> None:
    async with await GroupedLedger.open(url, owner_timeout_s=0.3):
        seen = {seen_at(database)}
        while len(seen) < 3:
            await asyncio.sleep(0.02)
            seen.add(seen_at(database))


def seen_at(database: Database) -> str:
    return database.read(lambda connection: str(connection.execute(text("SELECT seen_at FROM workers")).scalar_one()))


async def test_writes_wait_while_another_process_holds_sqlite(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite3"
    url = f"sqlite:///{file}"
    with open_database(url) as database:
        _, (added,) = submit(database, ["a"])
    async with await GroupedLedger.open(url, owner_timeout_s=15) as ledger:
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        claim = asyncio.create_task(ledger.claim(added.job_id, 0))
        await asyncio.sleep(0.3)
        assert not claim.done()
        other.execute("ROLLBACK")
        other.close()
        assert await claim is not None


@pytest.mark.postgres
async def test_a_restart_of_postgresql_loses_no_write_and_makes_none_twice(tmp_path: Path) -> None:
    programs = postgres_programs()
    if programs is None:
        pytest.skip("no PostgreSQL programs (initdb, postgres) on this machine")
    with PostgresServer.temporary(programs) as server:
        with open_database(server.url) as database:
            submission_id, added = submit(database, [f"text {number}" for number in range(300)])
        async with await GroupedLedger.open(server.url, owner_timeout_s=600) as ledger:
            slots = asyncio.Semaphore(30)

            async def in_turn(job_id: str) -> None:
                async with slots:
                    await run(ledger, job_id)

            running = [asyncio.create_task(in_turn(one.job_id)) for one in added]
            await running[60]
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            await asyncio.gather(*running)
        with open_database(server.url) as database:
            total = summary(database, submission_id)
        assert total is not None
        assert (total.states[JobState.DONE], total.spent.calls) == (300, 300)
        assert total.spent.cost_nanousd == 300 * 123


async def test_a_database_that_stays_away_is_given_up_on_and_the_ledger_lives_on(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite3"
    url = f"sqlite:///{file}"
    with open_database(url) as database:
        _, (added,) = submit(database, ["a"])
    ledger = GroupedLedger(
        Database(url, busy_timeout_s=0.05),
        Owner("worker-x", "host", os.getpid(), datetime.now(UTC)),
        owner_timeout_s=15,
        patience_s=0.2,
    )
    ledger._thread.start()
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerUnavailable, match="locked by another process"):
        await ledger.claim(added.job_id, 0)
    other.execute("ROLLBACK")
    other.close()
    assert await ledger.claim(added.job_id, 0) is not None
    await ledger.close()


def test_what_was_acknowledged_survives_kill_9_of_the_writer(url: str, database: Database) -> None:
    submission_id, _ = submit(database, [f"text {number}" for number in range(1000)])
    writer = subprocess.Popen(
        [sys.executable, "-m", "tests.workers.ledger.writer"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdin is not None
    assert writer.stdout is not None
    writer.stdin.write(f"{url}\n{submission_id}\n")
    writer.stdin.close()
    acknowledged = [writer.stdout.readline().strip() for _ in range(150)]
    writer.send_signal(signal.SIGKILL)
    acknowledged += [line.strip() for line in writer.stdout.readlines() if line.endswith("\n")]
    writer.stdout.close()
    writer.wait()
    assert 150 <= len(acknowledged) < 1000
    for job_id in acknowledged:
        told = story(database, job_id)
        assert told is not None
        assert (told.job.state, [call.cost_nanousd for call in told.calls]) == (JobState.DONE, [123])
