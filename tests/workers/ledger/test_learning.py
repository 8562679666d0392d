"""The newest answered calls, and a submission's estimate, on both databases."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import event, text

from tasks.model.call import CallState, Usage
from tasks.model.fault import TimedOut
from tasks.model.verdict import Bury, Done
from tasks.rules.expecting import Sample
from tests.workers.ledger.samples import RECIPE, ROUTE, answered, call_of, item, submit
from workers.ledger import (
    Database,
    GroupedLedger,
    NewDocument,
    add,
    begin_submission,
    keep_estimate,
    known_keys,
    recent_samples,
    submissions,
)

SAMPLE = Sample(RECIPE.hash, ROUTE.model, ROUTE.max_tokens, False, 31, 10, 7, 5)


async def call_all(database: Database, url: str, texts: list[str]) -> list[str]:
    """One answered call for each, and one more job whose call fell silent; ids of the answered jobs, in order."""
    _, added = submit(database, [*texts, "silent"])
    async with await GroupedLedger.open(url, owner_timeout_s=60) as ledger:
        for one in added:
            job = await ledger.claim(one.job_id, one.generation)
            assert job is not None
            call, shell = call_of(job)
            call = replace(call, characters=len(one.name))
            await ledger.sending(job, call, ROUTE, shell)
            if one is added[-1]:
                fault = TimedOut("silent")
                await ledger.settle(job, replace(call, state=CallState.UNKNOWN, fault=fault.kind), Bury(fault))
            else:
                await ledger.settle(job, answered(call), Done("an answer"))
    return [one.job_id for one in added[:-1]]


async def test_answered_calls_come_oldest_first_with_what_they_used(database: Database, url: str) -> None:
    jobs = await call_all(database, url, ["a", "bb", "ccc"])
    found = recent_samples(database, 100)
    assert [one.job_id for one in found] == jobs
    assert [one.sample for one in found] == [SAMPLE._replace(characters=length) for length in (5, 6, 7)]
    assert all(one.took_s >= 0 for one in found)


async def test_only_so_many_of_the_newest_are_looked_at(database: Database, url: str) -> None:
    jobs = await call_all(database, url, ["a", "bb", "ccc"])
    assert [one.job_id for one in recent_samples(database, 3)] == jobs[1:]  # the third is the silent one
    assert recent_samples(database, 1) == []


async def test_the_simulators_calls_and_claudes_are_told_apart(database: Database, url: str) -> None:
    jobs = await call_all(database, url, ["a", "bb"])
    database.write(
        lambda connection: connection.execute(
            text("UPDATE calls SET synthetic = :no WHERE job_id = :id"), {"no": False, "id": jobs[0]}
        )
    )
    assert [one.job_id for one in recent_samples(database, 100, synthetic=False)] == jobs[:1]
    assert [one.job_id for one in recent_samples(database, 100, synthetic=True)] == jobs[1:]


async def test_a_pdf_that_was_sent_as_it_is_is_told_from_one_with_text(database: Database, url: str) -> None:
    submission = begin_submission(database, recipe=RECIPE.name)
    scan = NewDocument("1" * 64, "application/pdf", b"%PDF-1", None, 2)
    read = NewDocument("2" * 64, "application/pdf", b"%PDF-2", "the text", 2)
    wishes = [replace(item(at, str(at)), document=each) for at, each in enumerate((scan, read))]
    async with await GroupedLedger.open(url, owner_timeout_s=60) as ledger:
        for one in add(database, submission, wishes):
            job = await ledger.claim(one.job_id, one.generation)
            assert job is not None
            call, shell = call_of(job)
            await ledger.sending(job, replace(call, characters=20_000), ROUTE, shell)
            await ledger.settle(job, answered(replace(call, characters=20_000)), Done("an answer"))
    assert [one.sample.is_pdf for one in recent_samples(database, 100)] == [True, False]


async def test_a_call_without_cache_counts_is_read_all_the_same(database: Database, url: str) -> None:
    (job,) = await call_all(database, url, ["a"])
    database.write(
        lambda connection: connection.execute(
            text("UPDATE calls SET cache_write_5m_tokens = 3, cache_write_1h_tokens = NULL WHERE job_id = :id"),
            {"id": job},
        )
    )
    (found,) = recent_samples(database, 100)
    assert (found.sample.uncached, found.sample.cached) == (13, 7)
    assert Usage(input=10, cache_write_5m=3).prompt == found.sample.uncached


async def test_an_index_leads_to_the_newest_calls(database: Database, url: str, dialect: str) -> None:
    await call_all(database, url, ["a"])
    asked: list[str] = []
    event.listen(
        database.engine,
        "before_execute",
        lambda _, clause, *__: asked.append(
            str(clause.compile(database.engine, compile_kwargs={"literal_binds": True}))
        ),
    )
    recent_samples(database, 10)
    (statement,) = asked
    explain = "EXPLAIN QUERY PLAN " if dialect == "sqlite" else "EXPLAIN "
    with database.engine.connect() as connection:
        if dialect == "postgresql":
            connection.exec_driver_sql("SET enable_seqscan = off")  # a table of two rows is read whole otherwise
        plan = " ".join(str(row) for row in connection.exec_driver_sql(explain + statement))
    assert "ix_calls_sent_at" in plan


def test_known_documents_are_known_by_their_key(database: Database) -> None:
    submit(database, ["a", "b"])
    keys = [item(at, said).key for at, said in enumerate(["a", "b", "c"])]
    assert known_keys(database, keys) == set(keys[:2])
    assert known_keys(database, []) == set()


def test_a_submission_keeps_its_estimate(database: Database) -> None:
    first, _ = submit(database, ["a"])
    second, _ = submit(database, ["b"])
    keep_estimate(database, second, {"documents": 1, "cost_nanousd": {"low": 1, "likely": 2**40, "high": 3}})
    lines = {line.id: line.estimate for line in submissions(database)}
    assert lines[first] is None
    assert lines[second] == {"documents": 1, "cost_nanousd": {"low": 1, "likely": 2**40, "high": 3}}
