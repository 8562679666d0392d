"""`run`, `up` and what works on a running stack: real processes, a real ledger, the simulator in Claude's place."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scripts.commands.conftest import Docmill

ROOT = Path(__file__).resolve().parents[3]
UNWANTED = ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "DOCMILL_DATABASE_URL", "DOCMILL_REDIS_URL", "NO_COLOR")
PATIENCE_S = 45

pytestmark = pytest.mark.timeout(150)


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in UNWANTED}
    return {**kept, "DOCMILL_HOME": str(home), "PYTHONPATH": str(ROOT), **more}


def ran(home: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, as it must be where it publishes: Celery's app knows one broker."""
    done = subprocess.run(
        [sys.executable, "-m", "scripts.cli", *words],
        capture_output=True,
        text=True,
        env=environment(home),
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done


def started(home: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(home),
        start_new_session=True,
    )


def read_until(process: subprocess.Popen[str], wanted: str) -> str:
    """The output up to the line with `wanted` in it."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if wanted in line:
            return said
    raise AssertionError(f"no {wanted!r} in {said}")


def letters(folder: Path, number: int, more: str = "") -> Path:
    folder.mkdir()
    for one in range(number):
        (folder / f"letter-{one:02}.txt").write_text(f"Letter {one}: the parcel came. {more}")
    return folder


@pytest.fixture
def up(home: Path) -> Iterator[Path]:
    """A data folder on which a stack runs."""
    process = started(home, "up", "--latency", "fixed:0.2")
    assert process.stdout is not None
    try:
        read_until(process, "| ready: ")
        yield home
    finally:
        process.send_signal(signal.SIGTERM)
        process.stdout.read()  # a full pipe would keep it from stopping
        assert process.wait(PATIENCE_S) == 0
        process.stdout.close()


def test_run_in_a_pipe_answers_everything_and_leaves_nothing_running(home: Path, tmp_path: Path) -> None:
    folder = letters(tmp_path / "post", 3)
    (folder / "torn.pdf").write_bytes(b"%PDF-1.7 torn")
    out = tmp_path / "answers.jsonl"
    done = ran(home, "run", str(folder), "--json", "--output", str(out), "--label", "post", code=1)
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["synthetic"] is True
    assert told["states"]["done"] == told["accepted"] == 3
    assert [result["state"] for result in told["results"]] == ["done"] * 3
    assert told["cost_nanousd"] == sum(result["cost_nanousd"] for result in told["results"]) > 0
    assert [one["name"].endswith("torn.pdf") for one in told["unreadable"]] == [True]
    assert [json.loads(line) for line in out.read_text().splitlines()] == told["results"]
    assert "synthetic" in done.stderr.splitlines()[0]  # said before anything else
    assert "\x1b" not in done.stderr
    assert not (home / "stack.json").exists()

    # The same again: nothing is run or paid for twice, and the answers are still synthetic.
    told = json.loads(ran(home, "run", str(folder / "letter-*.txt"), "--json").stdout)
    assert (told["accepted"], told["calls"], told["cost_nanousd"], told["known_states"]) == (0, 0, 0, {"done": 3})
    assert told["synthetic"] is True


def test_run_on_a_terminal_shows_a_bar_then_answers_and_their_cost(home: Path, tmp_path: Path) -> None:
    folder = letters(tmp_path / "post", 4)
    said, code = on_a_terminal(home, "run", str(folder), "--latency", "uniform:0.5,2")
    assert code == 0
    assert re.search(r"answering ━+", said)
    assert said.index("letter-00.txt") < said.index("letter-03.txt") < said.index("$0.00")
    assert "4 done" in said
    assert said.index("Every answer is synthetic") < said.index("submitted as") < said.index("answers  ")


def on_a_terminal(home: Path, *words: str) -> tuple[str, int]:
    """What a command says on a pseudo-terminal of 100 columns, without its colours, and its exit code."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.cli", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(home, TERM="xterm-256color", COLUMNS="100"),
        start_new_session=True,
    )
    os.close(theirs)
    said = b""
    deadline = time.monotonic() + PATIENCE_S
    while select.select([ours], [], [], max(0, deadline - time.monotonic()))[0]:
        try:
            said += os.read(ours, 65_536)
        except OSError:  # Linux's way to say that the other side was closed
            break
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode()), process.wait(PATIENCE_S)


def test_an_interrupted_run_keeps_everything_and_says_how_to_go_on(
    home: Path, tmp_path: Path, docmill: Docmill
) -> None:
    folder = letters(tmp_path / "post", 3, more="{{sim:latency:3}}")
    process = started(home, "run", str(folder))
    read_until(process, "submitted as")
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    said = process.stdout.read()
    process.stdout.close()
    assert process.wait(PATIENCE_S) == 130
    assert "Traceback" not in said
    assert "is kept" in said
    assert "docmill results" in said or "docmill watch" in said
    assert not (home / "stack.json").exists()
    results = docmill("results").lines
    assert [result["state"] in {"done", "queued"} for result in results] == [True] * 3


def test_a_run_whose_calls_are_cut_off_says_that_they_may_have_been_paid_for(
    home: Path, tmp_path: Path, docmill: Docmill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCMILL_DRAIN_TIMEOUT_S", "1")
    process = started(home, "run", str(letters(tmp_path / "post", 2, more="{{sim:latency:120}}")))
    assert process.stdout is not None
    read_until(process, "submitted as")
    while sum(result["calls"] for result in docmill("results").lines) < 2:  # until both calls are under way
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said = process.stdout.read()
    process.stdout.close()
    assert process.wait(PATIENCE_S) == 130
    assert "2 uncertain" in said
    assert "docmill uncertain --submission" in said
    assert [result["state"] for result in docmill("results").lines] == ["uncertain"] * 2


def test_a_typo_starts_nothing(home: Path, tmp_path: Path, docmill: Docmill) -> None:
    letter = str(tmp_path / "a.txt")
    Path(letter).write_text("A letter.")
    for words, named in (
        (["run", "no-such-file"], "no-such-file"),
        (["run", letter, "--recipe", "sonnet"], "'sonnet'"),
        (["run", letter, "--recipe", "answer"], "question"),
        (["run", letter, "--model", "gpt"], "'gpt'"),
        (["run"], "PATH"),
        (["run", letter, "-o", str(tmp_path / "no" / "file")], "no"),
        (["submit", letter], "docmill up"),
    ):
        said = docmill(*words)
        assert said.code == 2
        assert named in said.err
        assert said.err.count("\n") == 1
    assert docmill("status", "--json").json["submissions"] == []
    assert not (home / "valkey").exists()


def test_a_running_stack_is_used_and_watched(up: Path, tmp_path: Path, docmill: Docmill) -> None:
    folder = letters(tmp_path / "post", 3)
    receipt = json.loads(ran(up, "submit", str(folder), "--recipe", "classify", "--json").stdout)
    assert receipt["accepted"] == 3
    assert docmill("watch", "--json").json["states"]["done"] == 3
    assert all(result["output"]["kind"] for result in docmill("results").lines)

    asked = json.loads(ran(up, "run", str(folder), "--question", "Who wrote it?", "--json").stdout)
    assert asked["models"] == {"claude-sonnet-4-6": 3}  # the recipe's complexity is high
    assert (up / "stack.json").exists()  # it was there before, so it stays
    assert "--faults" in docmill("run", str(folder), "--faults", "0.5").err

    slow = letters(tmp_path / "slow", 5, more="{{sim:latency:120}}")
    began = json.loads(ran(up, "submit", str(slow), "--json").stdout)
    lanes = {lane["complexity"]: lane for lane in docmill("status", "--json").json["lanes"]}
    assert lanes["low"]["ready"] + lanes["low"]["held"] == 5
    cancelled = json.loads(ran(up, "cancel", began["submission_id"], "--json").stdout)
    assert len(cancelled["cancelled"]) == 5
    watched = docmill("watch", "--json")
    assert (watched.code, watched.json["states"]["cancelled"]) == (1, 5)

    report = docmill("doctor", "--json").json
    assert report["healthy"]
    assert {"broker", "quarantine", "workers", "stack", "ledger"} <= {one["about"] for one in report["findings"]}
