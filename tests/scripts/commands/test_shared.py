"""Figures, lines of progress, tables: what is said, from values alone."""

from __future__ import annotations

import argparse
import io
import os
import re
from datetime import UTC, datetime, timedelta

import pytest

from config.settings import Settings
from scripts.commands.shared import terminal
from scripts.commands.shared.figures import ago, cost, counted, exact_dollars, milliseconds, span
from scripts.commands.shared.mistakes import Mistake
from scripts.commands.shared.options import simulator_arguments
from scripts.commands.shared.progress import Lines, Standing
from scripts.commands.shared.user import user_name
from scripts.commands.up import configure
from tasks.model.job import JobState
from workers.ledger import Spent


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"),
        (9.96, "10.0 s"),
        (12.4, "12 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7_860, "2 h 11 min"),
    ],
)
def test_a_span_has_one_or_two_units(seconds: float, said: str) -> None:
    assert span(seconds) == said


@pytest.mark.parametrize(
    ("passed", "said"), [(0, "0 s ago"), (75, "1 min ago"), (7_300, "2 h ago"), (200_000, "2 d ago")]
)
def test_ago_has_one_unit(passed: int, said: str) -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    assert ago(now - timedelta(seconds=passed), now) == said


def test_numbers_are_grouped_and_nouns_agree() -> None:
    assert counted(1, "call") == "1 call"
    assert counted(12_000, "call") == "12,000 calls"
    assert milliseconds(850) == "850 ms"
    assert milliseconds(None) == ""


@pytest.mark.parametrize(
    ("spent", "said"),
    [
        (Spent(calls=1, cost_nanousd=1_500_000), "$0.001500"),
        (Spent(), "$0.000000"),
        (Spent(calls=2, unknown_calls=2), "2 calls of unknown cost"),
        (
            Spent(calls=3, cost_nanousd=1_000, unknown_calls=1, unknown_estimate_nanousd=5_000_000),
            "$0.000001 + 1 call of unknown cost (at most $0.005000)",
        ),
    ],
)
def test_an_unknown_cost_is_never_zero(spent: Spent, said: str) -> None:
    assert cost(spent) == said


def test_dollars_for_a_program_are_exact() -> None:
    assert exact_dollars(1_234_567_890_123) == "1234.567890123"
    assert exact_dollars(1) == "0.000000001"
    assert exact_dollars(None) is None


def test_a_pipe_gets_a_line_every_two_seconds_at_most_and_every_five_percent() -> None:
    said: list[str] = []
    moment = [0.0]
    lines = Lines("answering", said.append, clock=lambda: moment[0])
    for ended in range(1_001):  # 1,000 documents in 10 s
        moment[0] = ended / 100
        lines.show(ended, 1_000, f"{ended} done")
    assert len(said) == 5
    for ended in range(1_001):  # in 1,000 s
        moment[0] = 10 + ended
        lines.show(1_000 + ended, 1_000, "")
    assert len(said) <= 5 + 34  # 5 % are 50 s: a sign of life every 30 s comes first


def test_nothing_moving_still_gives_a_sign_of_life() -> None:
    said: list[str] = []
    moment = [0.0]
    lines = Lines("answering", said.append, clock=lambda: moment[0])
    for second in range(95):
        moment[0] = float(second)
        lines.show(0, 9, "9 waiting")
    assert said == ["answering: 0 of 9 (9 waiting)"] * 3


def test_a_submission_is_finished_when_nothing_is_open() -> None:
    none = dict.fromkeys(JobState, 0)
    assert Standing({**none, JobState.DONE: 2, JobState.DEAD: 1, JobState.CANCELLED: 1}).finished
    assert not Standing({**none, JobState.DONE: 2, JobState.WAITING: 1}).finished
    assert Standing(none).finished
    assert Standing({**none, JobState.DONE: 2_000, JobState.RUNNING: 1}).told() == "1 running, 2,000 done"


class Screen(io.StringIO):
    """A terminal of so many columns."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [30, 40, 60, 200])
def test_a_table_shows_every_value_however_narrow_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    screen = Screen()
    shown = terminal.table("submission", "documents", "recipe", right=["documents"], fold=["recipe"])
    shown.add_row("sub-01m827vvp", "1,234", "classify")
    terminal.Terminal(screen).show(shown)
    said = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())
    assert all(word in said for word in ("sub-01m827vvp", "1,234", "classify", "documents"))
    assert max(len(line) for line in said.splitlines()) <= columns


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    screen = Screen()
    terminal.Terminal(screen).print(terminal.cell("dead", "red"))
    assert "\x1b[31m" not in screen.getvalue()


def test_markup_in_a_name_is_text() -> None:
    screen = io.StringIO()
    terminal.Terminal(screen).print("[bold]a[/bold] :smile:")
    assert screen.getvalue() == "[bold]a[/bold] :smile:\n"


def test_the_simulators_options_are_refused_with_a_real_key() -> None:
    parser = argparse.ArgumentParser()
    configure(parser)
    args = parser.parse_args(["--faults", "0.03", "--latency", "fixed:2", "--seed", "7"])
    assert simulator_arguments(args, Settings(anthropic_api_key="")) == (
        *("--faults", "0.03"),
        *("--latency", "fixed:2"),
        *("--seed", "7"),
    )
    with pytest.raises(Mistake, match=r"--faults .*ANTHROPIC_API_KEY") as refused:
        simulator_arguments(args, Settings(anthropic_api_key="sk-ant-secret"))
    assert "secret" not in str(refused.value)
    assert simulator_arguments(parser.parse_args([]), Settings(anthropic_api_key="sk-ant-secret")) == ()


def test_a_user_without_a_name_is_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "anna")
    assert user_name() == "anna"
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    assert user_name() == "a person"
