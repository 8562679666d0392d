"""`docmill costs`, and the ledger against the provider's export."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update

from config.settings import Settings
from tasks.model.budget import Scope
from tasks.rules.days import day_of
from tests.scripts.commands.conftest import DAY, Docmill, Past
from tests.values import HAIKU
from workers.ledger import Database, open_database, set_budget
from workers.ledger.tables import calls

COST = 1_234_567
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def database(home: Path, past: Past) -> Any:
    """The ledger of the past, its calls sent at noon of its day."""
    with open_database(Settings(home=home).ledger_url) as database:
        with database.engine.begin() as connection:
            connection.execute(update(calls).values(sent_at=NOON))
        yield database


def test_costs_by_fault_tell_what_failures_cost(docmill: Docmill, past: Past) -> None:
    groups = {group["group"]: group for group in docmill("costs", "--by", "fault", "--json").json["groups"]}
    assert set(groups) == {"none", "TimedOut"}
    assert (groups["TimedOut"]["unknown_calls"], groups["TimedOut"]["failed_calls"]) == (1, 1)
    assert "failures: 1 call without a usable answer cost $0.000000" in docmill("costs").err


def test_what_routing_saved_is_told_as_an_estimate(docmill: Docmill, past: Past) -> None:
    told = docmill("costs", "--json").json["savings"]
    assert told["strong_model"] == "claude-sonnet-4-6"
    routed = told["routing_estimate"]
    assert (routed["calls"], routed["paid_nanousd"]) == (3, 3 * COST)
    assert routed["otherwise_nanousd"] == 3 * (1_000 * 3_000 + 50 * 15_000)
    assert routed["saved_nanousd"] == routed["otherwise_nanousd"] - 3 * COST
    assert told["caching"]["calls"] == 0
    assert "routing saved $0.007546 against all on claude-sonnet-4-6 (an estimate)" in docmill("costs").err


def test_what_caching_saved_is_told(docmill: Docmill, database: Database) -> None:
    with database.engine.begin() as connection:
        cached = {"cache_read_tokens": 10_000, "cost_nanousd": calls.c.cost_nanousd + 10_000 * 100}
        connection.execute(update(calls).where(calls.c.state == "answered").values(cached))
    told = docmill("costs", "--json").json["savings"]["caching"]
    assert (told["calls"], told["saved_nanousd"]) == (3, 3 * (10_000 * 984_567 - 10_000 * 100_000) // 1_000)
    assert "caching saved $0.026537 against no cache" in docmill("costs").err


def test_csv_is_exact_and_as_the_rfc_says(docmill: Docmill, past: Past) -> None:
    said = docmill("costs", "--by", "model", "--csv").out
    assert said.count("\r\n") == said.count("\n") == 2
    (row,) = csv.DictReader(io.StringIO(said, newline=""))
    assert (row["model"], row["calls"], row["cost_nanousd"], row["cost_usd"]) == (HAIKU, "4", "3703701", "0.003703701")
    assert (row["unknown_calls"], row["unknown_estimate_usd"]) == ("1", "0.002500000")


def test_bars_fit_80_columns_and_show_days_without_calls(
    docmill: Docmill, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.engine.begin() as connection:
        connection.execute(update(calls).where(calls.c.state == "unknown").values(day="2026-11-24"))
    monkeypatch.setenv("COLUMNS", "80")
    said = docmill("costs", "--plot")
    lines = said.out.splitlines()
    assert [line.split()[0] for line in lines] == ["2026-11-22", "2026-11-23", "2026-11-24"]
    assert max(map(len, lines)) <= 80
    assert lines[0].count("█") > 50
    assert "█" not in lines[1] + lines[2]
    assert "░" in lines[2]
    assert "estimates" in said.err


def test_days_are_those_of_the_configured_zone(docmill: Docmill, past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCMILL_TIME_ZONE", "Europe/Berlin")
    assert docmill("costs", "--json").json["time_zone"] == "Europe/Berlin"
    assert docmill("costs", "--since", DAY, "--until", DAY, "--json").json["total"]["calls"] == 4
    assert docmill("costs", "--until", "2026-11-21", "--json").json["groups"] == []


def test_spend_is_told_against_the_budget(docmill: Docmill, home: Path, past: Past) -> None:
    with open_database(Settings(home=home).ledger_url) as database:
        today = day_of(database.now(), ZoneInfo("UTC"))
        with database.engine.begin() as connection:
            connection.execute(update(calls).values(day=today))
        limits = {"hard_nanousd": 10_000_000, "soft_nanousd": 8_000_000}
        set_budget(database, Scope.DAY, "", **limits, day=today, set_by="anna")
    (told,) = docmill("costs", "--json").json["budgets"]
    assert (told["spent_nanousd"], told["hard_nanousd"]) == (3 * COST + 2_500_000, 10_000_000)
    assert "budget of the day: $0.006204 of $0.010000 hard and $0.008000 soft" in docmill("costs").err


def usage_csv(**changes: int) -> str:
    counts = {"usage_input_tokens_no_cache": 3_000, "usage_output_tokens": 150, **changes}
    return f"usage_date_utc,model_version,{','.join(counts)}\n{DAY},{HAIKU},{','.join(map(str, counts.values()))}\n"


def both(output_tokens: int, cost_usd: str) -> str:
    return f"date,model,input_tokens,output_tokens,cost_usd\n{DAY},{HAIKU},3000,{output_tokens},{cost_usd}\n"


@pytest.mark.parametrize(
    ("text", "words", "code", "says"),
    [
        (usage_csv(), ["--synthetic"], 0, "agree"),
        (usage_csv(usage_output_tokens=151), ["--synthetic"], 1, "output +1"),
        (usage_csv(), [], 1, "left out"),
        (f"date,model,cost_usd\n{DAY},Claude Haiku 4.5,0.00\n", ["--synthetic"], 0, "rounding"),
        (f"date,model,cost_usd\n{DAY},Claude Haiku 4.5,0.00370\n", ["--synthetic"], 0, "agree"),
        (f"date,model,cost_usd\n{DAY},Claude Haiku 4.5,0.00600\n", ["--synthetic"], 1, "1 call of unknown cost"),
        (
            f"date,model,cost_usd\n{DAY},Claude Haiku 4.5,0.00600\n",
            ["--synthetic", "--tolerance", "0.01"],
            0,
            "$0.010000",
        ),
        (f"date,model,cost_usd\n{DAY},claude-opus-5-5,1.00\n", ["--synthetic"], 1, "other keys"),
        (both(150, "0.003703701"), ["--synthetic"], 0, "the ledger and the export agree in costs and tokens"),
        (both(151, "0.003703701"), ["--synthetic"], 1, "they differ in tokens, and agree in costs"),
        (both(150, "0.003703702"), ["--synthetic"], 1, "they differ in costs, and agree in tokens"),
        (both(151, "0.003703702"), ["--synthetic"], 1, "they differ in costs and tokens"),
    ],
)
def test_the_export_is_compared_by_day_and_model(
    docmill: Docmill, database: Database, tmp_path: Path, text: str, words: list[str], code: int, says: str
) -> None:
    export = tmp_path / "export.csv"
    export.write_text(text)
    said = docmill("costs", "reconcile", str(export), *words)
    assert said.code == code
    assert says in said.out + said.err
    assert docmill("costs", "reconcile", str(export), *words, "--json").json["agrees"] == (code == 0)


def test_a_bill_with_requests_is_compared_call_by_call(docmill: Docmill, database: Database, tmp_path: Path) -> None:
    with database.engine.begin() as connection:
        for number, call_id in enumerate(
            connection.execute(calls.select().with_only_columns(calls.c.id)).scalars().all()
        ):
            connection.execute(update(calls).where(calls.c.id == call_id).values(request_id=f"req_{number}"))
    usage = {"input_tokens": 1_000, "output_tokens": 50}
    rows = [
        {"request_id": f"req_{number}", "at": NOON.timestamp(), "model": HAIKU, "usage": usage, "nanousd": COST}
        for number in range(4)
    ]
    bill = tmp_path / "bill.json"
    bill.write_text(json.dumps({"requests": rows}))
    said = docmill("costs", "reconcile", str(bill), "--json")
    assert said.code == 1  # the fourth is the one that fell silent
    assert (said.json["requests"]["equal"], said.json["requests"]["unbooked"]) == (3, 1)
    assert said.json["lines"][0]["unknown_may_explain"]
    rows[0]["nanousd"] = COST + 1
    bill.write_text(json.dumps({"requests": rows[:3]}))
    said = docmill("costs", "reconcile", str(bill))
    assert said.code == 1
    assert "req_0: billed $0.001235, booked $0.001235" in said.out


def test_every_cost_can_be_reckoned_anew(docmill: Docmill, database: Database) -> None:
    assert docmill("costs", "reconcile").code == 0
    with database.engine.begin() as connection:
        connection.execute(update(calls).where(calls.c.state == "answered").values(output_tokens=51))
    said = docmill("costs", "reconcile")
    assert said.code == 1
    assert said.out.count("another sum") == 3
    assert len(docmill("costs", "reconcile", "--json").json["miscounted"]) == 3


@pytest.mark.parametrize("content", [b"Dear Anna", b"\xff\xfe\x00", b"", None])
def test_a_file_that_cannot_be_read_is_told_in_a_line(
    docmill: Docmill, home: Path, tmp_path: Path, content: bytes | None
) -> None:
    export = tmp_path / "export.csv"
    if content is not None:
        export.write_bytes(content)
    said = docmill("costs", "reconcile", str(export))
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert str(export) in said.err


@pytest.mark.parametrize(
    "words",
    [
        ["--since", "yesterday"],
        ["reconcile", "x", "--tolerance", "-1"],
        ["reconcile", "x", "--tolerance", "1e999999999"],
        ["--by", "mood"],
    ],
)
def test_wrong_usage_is_told(docmill: Docmill, home: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit):
        docmill("costs", *words)
