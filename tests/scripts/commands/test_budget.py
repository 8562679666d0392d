"""`docmill budget`: on a real ledger and broker, without workers."""

from __future__ import annotations

import time

import pytest
import redis
from sqlalchemy import update

from config.settings import load_settings
from scripts.commands.shared.budgets import BudgetNotes
from scripts.commands.shared.options import money
from scripts.stack.valkey import ValkeyServer
from tests.scripts.commands.conftest import Docmill, Past
from workers.ledger import OBEYED_AFTER_S, open_database
from workers.ledger.tables import budget_use
from workers.transport import Pauses

QUEUES = ["docmill.low", "docmill.medium", "docmill.high", "docmill.suspect"]


@pytest.fixture(autouse=True)
def _broker(home: object, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCMILL_REDIS_URL", valkey.url)


def test_budgets_count_what_was_spent_before_they_were_set(docmill: Docmill, past: Past) -> None:
    assert "no budgets" in docmill("budget").out
    assert docmill("budget", "set", "submission", "latest", "--hard", "0.01").code == 0
    assert docmill("budget", "set", "submission", past.older, "--soft", "5").code == 0
    assert docmill("budget", "set", "recipe", "summarize", "--hard", "1", "--soft", "0.5").code == 0
    said = docmill("budget", "set", "day", "--hard", "$50.000000001")
    assert said.out == "set: budget of the day: $50.000000 hard\n"
    found = docmill("budget", "--json").json["budgets"]
    assert [each["scope"] for each in found] == ["day", "recipe", "submission", "submission"]
    assert found[0]["hard_nanousd"] == 50_000_000_001
    newer = next(each for each in found if each["name"] == past.newer)
    # Three answered at 1.234567 thousandths of a dollar, one that fell silent and may have cost 2.5.
    assert newer["spent_usd"] == "0.006203701"
    assert newer["share"] == 0.62037
    shown = docmill("budget").out
    assert "recipe 'summarize'" in shown
    assert "62.0 %" in shown


def test_a_limit_that_is_not_given_stays(docmill: Docmill, past: Past) -> None:
    docmill("budget", "set", "day", "--hard", "50", "--soft", "40")
    assert (
        docmill("budget", "set", "day", "--hard", "60").out
        == "set: budget of the day: $60.000000 hard, $40.000000 soft\n"
    )
    assert docmill("budget", "set", "day", "--hard", "none").out == "set: budget of the day: $40.000000 soft\n"
    assert docmill("budget", "remove", "day").out == "removed: the budget of the day\n"
    assert "no budget of the day" in docmill("budget", "remove", "day").err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("set", "day"), "give --hard DOLLARS"),
        (("set", "day", "noon", "--hard", "5"), "the day's has no name: leave out 'noon'"),
        (("set", "recipe", "--hard", "5"), "which recipe?"),
        (("set", "recipe", "smumarize", "--hard", "5"), "no recipe 'smumarize': choose one of answer"),
        (("set", "submission", "sub-nope", "--hard", "5"), "no submission 'sub-nope'"),
        (("set", "day", "--hard", "5", "--soft", "6"), "$6.000000 soft is above $5.000000 hard"),
        (("set", "day", "--hard", "none"), "`docmill budget remove`"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(docmill: Docmill, past: Past, words: tuple[str, ...], told: str) -> None:
    said = docmill("budget", *words)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert told in said.err


@pytest.mark.parametrize(
    ("said", "nanousd"), [("50", 50 * 10**9), ("$0.25", 250_000_000), ("0", 0), ("0.000000001", 1)]
)
def test_money_is_read_exactly(said: str, nanousd: int) -> None:
    assert money(said) == nanousd


@pytest.mark.parametrize("said", ["", "-1", "1e3", "fifty", "0.0000000001", "1,50", "٥"])
def test_what_is_no_money(docmill: Docmill, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        docmill("budget", "set", "day", f"--hard={said}")
    assert "is no amount in dollars: write 50 or 0.25" in capsys.readouterr().err


def test_lanes_that_the_day_had_stopped_go_on_once_more_is_allowed(
    docmill: Docmill, past: Past, valkey: ValkeyServer
) -> None:
    pauses = Pauses(redis.Redis.from_url(valkey.url))
    pauses.pause(QUEUES[:2], "budget of the day: used up", by="worker", seconds=3600, fault="OverBudget")
    pauses.pause(QUEUES[2:], "no credit", by="worker", seconds=3600, fault="BillingStopped")
    began = time.monotonic()
    said = docmill("budget", "set", "day", "--hard", "50")
    assert said.out.endswith("resumed: docmill.low, docmill.medium\n")
    assert time.monotonic() - began >= OBEYED_AFTER_S  # no worker stops them again by the old limit
    assert [lane for lane, pause in pauses.read(QUEUES).items() if pause.is_half_open] == QUEUES[:2]


def test_who_waits_is_told_once_what_a_budget_keeps_back(
    docmill: Docmill, past: Past, capsys: pytest.CaptureFixture[str]
) -> None:
    docmill("budget", "set", "submission", past.older, "--hard", "0.001")
    settings = load_settings()
    with open_database(settings.ledger_url) as database:
        database.write(lambda connection: connection.execute(update(budget_use).values(refused_at=database.now())))
        notes = BudgetNotes(settings, database)
        for _ in range(3):
            notes._next_look = 0
            notes.look()
    said = capsys.readouterr().err
    assert said.count("has too little room for some calls: $0.000000 of $0.001000 spent") == 1
    assert f"docmill budget set submission {past.older} --hard DOLLARS" in said
    assert "too little is left for some: jobs wait" in docmill("budget").out
