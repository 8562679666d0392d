"""`docmill estimate`, and being asked before much is spent: nothing is billed, nothing is stored."""

from __future__ import annotations

import asyncio
import io
import json
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr

from config.settings import Settings
from scripts.simulator.process import SimulatorProcess
from scripts.stack.valkey import ValkeyServer
from tasks.model.call import Call, CallState, Prompt, Route, Usage
from tasks.model.job import Job
from tasks.model.verdict import Done
from tasks.rules.expecting import ENOUGH
from tasks.rules.limiting import Amounts, Pace
from tasks.rules.pricing import cost_nanousd
from tasks.rules.prompting import shell_hash, write_prompt
from tests.scripts.commands.conftest import Docmill
from tests.values import HAIKU, HAIKU_PRICE, SONNET, a_route
from workers.ledger import GroupedLedger, new_id, open_database
from workers.limiter import fingerprint
from workers.limiter.bucket import Buckets, Word
from workers.transport import Keys

LONG_MODEL = "claude-haiku-5-5"


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    """Three letters, two of them the same, and something unreadable."""
    folder = tmp_path / "letters"
    folder.mkdir()
    (folder / "a.txt").write_text("Dear Anna, the parcel came. " * 40)
    (folder / "b.txt").write_text("Dear Bert, it did not. " * 40)
    (folder / "c.txt").write_text("Dear Anna, the parcel came. " * 40)
    (folder / "empty.txt").write_text("  ")
    return folder


@pytest.fixture
def broker(home: Path, shared_valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somewhere to submit to, with no worker behind it."""
    monkeypatch.setenv("DOCMILL_REDIS_URL", shared_valkey.url)


class Terminal(io.StringIO):
    """A person's keyboard."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def key(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls would be paid for; Claude itself is out of reach."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-x")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:1")


def rows(home: Path) -> dict[str, int]:
    """How many rows each table has that a submission would write to."""
    connection = sqlite3.connect(home / "ledger.sqlite3")
    try:
        names = ("submissions", "documents", "jobs", "items", "calls")
        return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}  # noqa: S608 - ours
    finally:
        connection.close()


def answer_all(home: Path) -> None:
    """Answer what is queued, as the simulator would: four characters to a token in, 40 tokens out."""
    asyncio.run(_answer_all(Settings(home=home).ledger_url))


async def _answer_all(url: str) -> None:
    with open_database(url) as database:
        jobs = database.read(lambda connection: list(connection.exec_driver_sql("SELECT id, generation FROM jobs")))
    async with await GroupedLedger.open(url, owner_timeout_s=60) as ledger:
        for job_id, generation in jobs:
            job = await ledger.claim(job_id, generation)
            if job is None:
                continue
            prompt = write_prompt(job.document, job.recipe, job.values)
            route = a_route(max_tokens=job.recipe.max_tokens)
            call = call_of(job, prompt, route)
            await ledger.sending(job, call, route, prompt.shell)
            usage = Usage(input=prompt.characters // 4, output=40)
            await ledger.settle(
                job,
                replace(
                    call,
                    state=CallState.ANSWERED,
                    usage=usage,
                    cost_nanousd=cost_nanousd(usage, HAIKU_PRICE),
                    synthetic=True,
                ),
                Done("an answer"),
            )


def call_of(job: Job, prompt: Prompt, route: Route) -> Call:
    return Call(
        id=new_id("call"),
        job_id=job.id,
        attempt=0,
        generation=job.generation,
        model=route.model,
        max_tokens=route.max_tokens,
        shell_hash=shell_hash(prompt.shell),
        document_hash=job.document.hash,
        queued_ms=0,
        estimate_nanousd=None,
        characters=prompt.characters,
    )


@pytest.fixture
def history(docmill: Docmill, home: Path, broker: None, tmp_path: Path) -> str:
    """A submission of enough letters, all answered; its id."""
    lines = tmp_path / "history.jsonl"
    lines.write_text("".join(json.dumps({"text": f"{each} " * 200}) + "\n" for each in range(ENOUGH)))
    submission: str = docmill("submit", str(lines), "--json").json["submission_id"]
    answer_all(home)
    return submission


def test_an_estimate_needs_no_stack_and_leaves_no_trace(docmill: Docmill, home: Path, letters: Path) -> None:
    said = docmill("estimate", str(letters), "--json")
    assert said.code == 1  # one is unreadable
    told = said.json
    assert (told["documents"], told["known"], told["unreadable"]) == (2, 1, 1)
    (route,) = told["routes"]
    assert (route["complexity"], route["model"], route["price_source"]) == ("low", HAIKU, "genai-prices")
    assert told["cost_nanousd"] == route["cost_nanousd"]
    assert 0 < told["cost_nanousd"]["low"] < told["cost_nanousd"]["likely"] < told["cost_nanousd"]["high"]
    assert told["time_s"] is None
    assert not any(rows(home).values())


@pytest.mark.parametrize("command", ["estimate", "submit --dry-run", "run --dry-run"])
def test_all_three_ways_say_the_same(docmill: Docmill, home: Path, letters: Path, command: str) -> None:
    said = docmill(*command.split(), str(letters / "a.txt"), str(letters / "b.txt"))
    assert said.code == 0
    assert f"low: {HAIKU}" in said.out
    assert "2 to run" in said.out
    assert "rule of thumb" in said.out
    assert not any(rows(home).values())


def test_the_route_follows_the_options_and_each_lines_own(docmill: Docmill, home: Path, tmp_path: Path) -> None:
    lines = tmp_path / "post.jsonl"
    lines.write_text(
        "".join(
            json.dumps(line) + "\n"
            for line in ({"text": "one"}, {"text": "two", "complexity": "low"}, {"text": "three", "recipe": "none"})
        )
    )
    told = docmill("estimate", "--jsonl", str(lines), "--complexity", "high", "--json").json
    assert {route["model"]: route["documents"] for route in told["routes"]} == {SONNET: 1, HAIKU: 1}
    assert told["unreadable"] == 1


@pytest.mark.usefixtures("broker")
def test_what_was_submitted_before_costs_nothing_unless_it_is_to_run_again(
    docmill: Docmill, home: Path, letters: Path
) -> None:
    letter = str(letters / "a.txt")
    assert docmill("submit", letter).code == 0
    first = docmill("estimate", letter, "--json").json
    assert (first["documents"], first["known"], first["cost_nanousd"]["high"]) == (0, 1, 0)
    assert docmill("estimate", letter, "--again", "--json").json["documents"] == 1
    assert docmill("estimate", letter, "--complexity", "high", "--json").json["documents"] == 1


@pytest.mark.usefixtures("history")
def test_calls_that_were_billed_narrow_the_range(docmill: Docmill, letters: Path) -> None:
    told = docmill("estimate", str(letters / "b.txt"), "--json").json
    assert told["calibrated"] == 1
    assert told["tokens_out"] == {"low": 40, "likely": 40, "high": 40}
    assert told["tokens_in"]["high"] - told["tokens_in"]["low"] <= 2
    assert told["time_by"] == "at the rate of the last hour"
    assert told["time_s"] > 0
    assert "recipe and model were billed" in docmill("estimate", str(letters / "b.txt")).out


@pytest.mark.usefixtures("key")
def test_time_goes_by_the_rate_limits_of_ones_own_key(
    docmill: Docmill, home: Path, letters: Path, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCMILL_REDIS_URL", valkey.url)
    words = ("estimate", str(letters / "a.txt"), str(letters / "b.txt"), "--offline", "--json")
    buckets = Buckets(redis.Redis.from_url(valkey.url), Keys(), Pace())
    buckets.tell(Word(f"{fingerprint(SecretStr('another'), None)}:{HAIKU}", "w", learned=Amounts(1, 0, 0)))
    assert docmill(*words).json["time_s"] is None
    ours = fingerprint(SecretStr("sk-x"), "http://127.0.0.1:1")
    buckets.tell(Word(f"{ours}:{HAIKU}", "w", learned=Amounts(2, 1_000_000, 1_000_000)))
    told = docmill(*words).json
    assert told["time_s"] == round(60 / 0.95, 1)
    assert "rate limits" in told["time_by"]


@pytest.mark.usefixtures("history")
def test_the_simulators_calls_say_nothing_of_claudes_cost(
    docmill: Docmill, letters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-x")
    assert docmill("estimate", str(letters / "b.txt"), "--offline", "--json").json["calibrated"] == 0


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(seed=7) as running:
        yield running


def test_claude_counts_what_is_near_a_boundary_and_bills_nobody(
    docmill: Docmill, home: Path, tmp_path: Path, simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-x")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", simulator.url)
    (tmp_path / "near.txt").write_text("letter " * 50_000)  # 100,000 tokens are its threshold
    (tmp_path / "small.txt").write_text("letter")
    words = ("estimate", str(tmp_path / "near.txt"), str(tmp_path / "small.txt"), "--model", LONG_MODEL, "--json")
    told = docmill(*words).json
    assert told["counted"] == 1
    assert told["tokens_in"]["high"] - told["tokens_in"]["low"] < 200  # all of it the small one's
    assert simulator.rows() == []
    assert docmill(*words, "--offline").json["counted"] == 0
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:1")
    assert docmill(*words).json["counted"] == 0


def test_a_document_over_its_models_window_is_told_and_not_paid(docmill: Docmill, home: Path, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("letter " * 200_000)
    told = docmill("estimate", str(tmp_path / "long.txt"), "--json").json
    assert (told["documents"], told["too_long"], told["cost_nanousd"]["high"]) == (0, 1, 0)


@pytest.mark.usefixtures("key", "broker")
@pytest.mark.parametrize("command", ["submit", "run"])
def test_with_nobody_to_ask_much_money_is_a_mistake(
    docmill: Docmill, home: Path, letters: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("DOCMILL_CONFIRM_ABOVE_USD", "0.0001")
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    said = docmill(command, str(letters / "a.txt"))
    assert said.code == 2
    assert "--yes" in said.err
    assert said.err.count("\n") == 1
    assert not any(rows(home).values())


@pytest.mark.usefixtures("key", "broker")
@pytest.mark.parametrize(("bound", "words", "keys"), [("0.0001", ["--yes"], ""), ("10", [], ""), ("0.0001", [], "y\n")])
def test_a_yes_or_little_money_is_enough(
    docmill: Docmill, letters: Path, monkeypatch: pytest.MonkeyPatch, bound: str, words: list[str], keys: str
) -> None:
    monkeypatch.setenv("DOCMILL_CONFIRM_ABOVE_USD", bound)
    monkeypatch.setattr(sys, "stdin", Terminal(keys))
    told = docmill("submit", str(letters / "a.txt"), *words, "--json").json
    assert (told["accepted"], told["estimate"]["documents"]) == (1, 1)


@pytest.mark.usefixtures("broker")
def test_the_simulator_is_paid_nothing_so_nothing_is_asked(
    docmill: Docmill, letters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCMILL_CONFIRM_ABOVE_USD", "0")
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert docmill("submit", str(letters / "a.txt")).code == 0


@pytest.mark.usefixtures("key", "broker")
def test_an_unknown_cost_is_asked_about_too(
    docmill: Docmill, home: Path, letters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir()
    (home / "catalogue.toml").write_text(
        '[models."claude-secret"]\nwindow_tokens = 1000000\nmax_output_tokens = 1000\nmax_pdf_pages = 1\n'
        "cache_floor_tokens = 1\n"
    )
    monkeypatch.setattr(sys, "stdin", Terminal("\n"))
    said = docmill("submit", str(letters / "a.txt"), "--model", "claude-secret")
    assert said.code == 1
    assert "unknown cost" in said.err


@pytest.mark.usefixtures("key")
def test_a_person_who_says_no_submits_nothing(
    docmill: Docmill, home: Path, letters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCMILL_CONFIRM_ABOVE_USD", "0.0001")
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    said = docmill("run", str(letters / "a.txt"))
    assert said.code == 1
    assert "submit 1 document for about $0.00" in said.err
    assert not any(rows(home).values())


def test_no_confirmation_bound_is_below_zero(docmill: Docmill, letters: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCMILL_CONFIRM_ABOVE_USD", "-1")
    said = docmill("estimate", str(letters))
    assert said.code == 2
    assert "DOCMILL_CONFIRM_ABOVE_USD" in said.err


def test_a_submission_shows_its_estimate_beside_its_cost(docmill: Docmill, history: str) -> None:
    told = docmill("status", history, "--json").json
    assert told["estimate"]["documents"] == ENOUGH
    assert told["cost_of_estimate"] == round(told["cost_nanousd"] / told["estimate"]["cost_nanousd"]["likely"], 4)
    assert docmill("status", "--json").json["submissions"][0]["estimate"] == told["estimate"]
    assert docmill("watch", history, "--json").json["estimate"] == told["estimate"]
    said = docmill("status", history)
    assert said.code == 0
    assert "of it" in said.out
