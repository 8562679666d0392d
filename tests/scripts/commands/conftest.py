"""A data folder with a ledger in which something has happened, and the command line run on it in this process."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from config.catalogue import Complexity
from config.recipe import Recipe
from config.settings import Settings
from scripts.cli import main
from tasks.model.call import Call, CallState, Prompt, Usage
from tasks.model.fault import Refused, TimedOut
from tasks.model.job import Job
from tasks.model.verdict import Bury, Done, Verdict
from tasks.rules.prompting import shell_hash, write_prompt
from tests.values import HAIKU, HAIKU_PRICE, SORT, SUMMARIZE, a_route
from workers.ledger import GroupedLedger, NewDocument, NewItem, add, begin_submission, job_key, new_id, open_database

ESCAPE = "\x1b[2J"
LETTER = "Dear Anna, the parcel came."
DAY = "2026-11-22"
PRICE = HAIKU_PRICE.model_copy(update={"model": HAIKU, "input": Decimal("0.984567")})


@dataclass(frozen=True)
class Said:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Docmill = Callable[..., Said]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder, and an environment without a key or servers."""
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "DOCMILL_DATABASE_URL", "DOCMILL_REDIS_URL", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCMILL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def docmill(home: Path, capsys: pytest.CaptureFixture[str]) -> Docmill:
    """The command line in this process."""

    def run(*words: str) -> Said:
        code = main(words)
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return run


@dataclass(frozen=True)
class Past:
    """What is in the ledger: an older submission of one queued letter, and a newer one of four documents."""

    older: str
    newer: str
    jobs: dict[str, str]
    """Job id by the document's name."""


@pytest.fixture
def past(home: Path) -> Past:
    return asyncio.run(_make_past(home))


async def _make_past(home: Path) -> Past:
    url = Settings(home=home).ledger_url
    with open_database(url) as database:
        older = begin_submission(database, recipe="summarize", label="for later")
        waiting = add(database, older, [an_item(0, "later.txt", "Not now.", SUMMARIZE)])
        newer = begin_submission(database, recipe="sort", label="post")
        items = [
            an_item(0, "letter.txt", LETTER, SORT),
            an_item(1, "note.txt", "A note.", SUMMARIZE),
            an_item(2, f"bad{ESCAPE}.txt", "Unspeakable.", SUMMARIZE),
            an_item(3, "slow.txt", "Slow.", SUMMARIZE),
        ]
        added = add(database, newer, items)
        ledger = await GroupedLedger.open(url, owner_timeout_s=60)
        async with ledger:
            ends: list[tuple[str, Verdict]] = [
                ('{"kind":"letter","pages":1}', Done('{"kind":"letter","pages":1}')),
                (f"A {ESCAPE}note,\nin two lines.", Done(f"A {ESCAPE}note,\nin two lines.")),
                ("", Bury(Refused("Claude declined to answer (category none)", request_id="req_2"))),
                ("", Bury(TimedOut("silent for 30 s"))),
            ]
            for one, (text, verdict) in zip(added, ends, strict=True):
                job = await ledger.claim(one.job_id, one.generation)
                assert job is not None
                prompt = write_prompt(job.document, job.recipe, job.values)
                call = _call(job, prompt)
                await ledger.sending(job, call, a_route(), prompt.shell)
                await ledger.settle(job, _ended(call, text, verdict), verdict)
        jobs = {one.name: one.job_id for one in (*waiting, *added)}
    return Past(older, newer, jobs)


def an_item(position: int, name: str, text: str, recipe: Recipe) -> NewItem:
    """A document as it is submitted."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    return NewItem(
        position=position,
        name=name,
        key=job_key(digest, recipe.hash, values={}, complexity=Complexity.LOW, model=None),
        document=NewDocument(hash=digest, media_type="text/plain", content=text.encode(), text=None),
        recipe=recipe,
        values={},
        complexity=Complexity.LOW,
        lane="docmill.low",
        metadata={"shelf": position},
    )


def _call(job: Job, prompt: Prompt) -> Call:
    return Call(
        id=new_id("call"),
        job_id=job.id,
        attempt=job.attempt,
        generation=job.generation,
        model=HAIKU,
        max_tokens=500,
        shell_hash=shell_hash(prompt.shell),
        document_hash=job.document.hash,
        queued_ms=5,
        estimate_nanousd=2_500_000,
        day=DAY,
    )


def _ended(call: Call, text: str, verdict: Verdict) -> Call:
    """Answered at 1.234567 thousandths of a dollar, or fallen silent at a cost nobody knows."""
    if isinstance(verdict, Bury) and isinstance(verdict.fault, TimedOut):
        return replace(call, state=CallState.UNKNOWN, fault="TimedOut")
    return replace(
        call,
        state=CallState.ANSWERED,
        usage=Usage(input=1_000, output=50),
        cost_nanousd=1_234_567,
        price=PRICE,
        status=200,
        request_id="req_1",
        first_byte_ms=10,
        total_ms=1_500,
        synthetic=True,
        text=text,
    )
