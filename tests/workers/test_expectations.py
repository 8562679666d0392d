"""What a worker expects of its calls: its own at once, the fleet's from a real ledger."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from config.settings import Settings
from tasks.model.call import Call, CallState, Usage
from tasks.model.verdict import Done
from tasks.rules.expecting import ENOUGH
from tests.workers.ledger.samples import RECIPE, ROUTE, answered, call_of, submit
from workers.expectations import Expectations, whose_calls
from workers.ledger import Database, GroupedLedger, open_database

CALL = Call(
    id="c",
    job_id="j",
    attempt=0,
    generation=0,
    model=ROUTE.model,
    max_tokens=ROUTE.max_tokens,
    shell_hash="s",
    document_hash="d",
    queued_ms=0,
    estimate_nanousd=None,
    characters=400,
    state=CallState.ANSWERED,
    usage=Usage(input=90, cache_write_5m=10, cache_read=20, output=30),
)


def told(expectations: Expectations) -> tuple[int, int]:
    """Tokens in, and the longest answer, of a prompt of 400 characters."""
    expected = expectations.of(RECIPE.hash, ROUTE.model, 400, ROUTE.max_tokens)
    return expected.input, expected.most_output


def test_each_answered_call_teaches() -> None:
    expectations = Expectations()
    for _ in range(ENOUGH - 1):
        expectations.learn(RECIPE.hash, CALL)
    assert told(expectations) == (134, ROUTE.max_tokens)
    expectations.learn(RECIPE.hash, replace(CALL, usage=None))  # not answered: nothing to learn
    assert told(expectations) == (134, ROUTE.max_tokens)
    expectations.learn(RECIPE.hash, CALL)
    assert told(expectations) == (101, 30)
    assert expectations.of(RECIPE.hash, ROUTE.model, 400, ROUTE.max_tokens).cache_read == 20


def test_a_call_of_unknown_length_teaches_how_long_answers_are() -> None:
    expectations = Expectations()
    for _ in range(ENOUGH):
        expectations.learn(RECIPE.hash, replace(CALL, characters=None))
    assert told(expectations) == (134, 30)


async def fill(url: str, database: Database) -> None:
    """Twenty answered calls of 10 tokens in and 5 out."""
    _, added = submit(database, [f"letter {each}" for each in range(ENOUGH)])
    async with await GroupedLedger.open(url, owner_timeout_s=60) as ledger:
        for one in added:
            job = await ledger.claim(one.job_id, one.generation)
            assert job is not None
            call, shell = call_of(job)
            call = replace(call, characters=40)
            await ledger.sending(job, call, ROUTE, shell)
            await ledger.settle(job, answered(call), Done("an answer"))


async def test_a_worker_begins_with_what_the_fleet_has_learned(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    with open_database(url) as database:
        async with Expectations.learning(database, synthetic=True, every_s=0.01) as expectations:
            assert told(expectations) == (134, ROUTE.max_tokens)
            await fill(url, database)  # by another worker, while this one looks on
            for _ in range(3_000):
                if told(expectations) == (101, 5):
                    break
                await asyncio.sleep(0.01)
            assert told(expectations) == (101, 5)
        async with Expectations.learning(database, synthetic=True) as another:
            assert told(another) == (101, 5)


async def test_what_was_learned_is_kept_while_the_ledger_has_nothing_newer(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    with open_database(url) as database:
        await fill(url, database)
        expectations = Expectations()
        await expectations.seed(database, synthetic=True)
        assert told(expectations) == (101, 5)
        await expectations.seed(database, synthetic=False)  # Claude has answered nothing yet
        assert told(expectations) == (101, 5)


@pytest.mark.parametrize(
    ("settings", "whose"),
    [
        (Settings(anthropic_api_key="", anthropic_base_url=""), True),
        (Settings(anthropic_api_key="sk-x", anthropic_base_url=""), False),
        (Settings(anthropic_api_key="sk-x", anthropic_base_url="http://127.0.0.1:1"), None),
    ],
)
def test_the_simulators_calls_say_nothing_of_claudes(settings: Settings, whose: bool | None) -> None:
    assert whose_calls(settings) is whose
