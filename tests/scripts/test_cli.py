"""The command line as a whole: which command, which exit code, and what a person is told when something is wrong."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.cli import COMMANDS, main
from scripts.commands.shared.mistakes import tell_bug

ROOT = Path(__file__).resolve().parents[2]
LOADED = """
import json, sys
from scripts.cli import main
try:
    main({words})
except SystemExit:
    pass
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
HEAVY = {"rich", "pydantic", "sqlalchemy", "celery", "anthropic", "redis"}


def loaded_after(*words: str, home: Path) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(words=list(words))],
        capture_output=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "DOCMILL_HOME": str(home)},
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_help_names_every_command_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(f"\n    {name} " in said for name in COMMANDS)
    assert "130  interrupted" in said


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_has_its_own_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"docmill {command}" in capsys.readouterr().out


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    assert not loaded_after("--help", home=tmp_path) & {
        "rich",
        "pydantic",
        "sqlalchemy",
        "celery",
        "anthropic",
        "redis",
    }


def test_status_loads_neither_celery_nor_the_sdk(tmp_path: Path) -> None:
    assert not loaded_after("status", home=tmp_path) & {"celery", "anthropic", "workers.intake", "scripts.simulator"}


def test_the_version_is_the_projects(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert f'version = "{capsys.readouterr().out.split()[1]}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "COMMAND"),
        (["fly"], "'fly'"),
        (["run", "x", "--complexity", "huge"], "huge"),
        (["run", "x", "--faults", "3"], "'3'"),
        (["run", "x", "--faults", "some"], "'some'"),
        (["run", "x", "--set", "question"], "'question'"),
        (["up", "--workers", "0"], "'0'"),
        (["costs", "--since", "yesterday"], "'yesterday'"),
        (["costs", "--by", "moon"], "moon"),
        (["show"], "JOB"),
        (["show", "x", "--prompt", "--answer"], "--answer"),
        (["status", "-n", "0"], "'0'"),
    ],
)
def test_wrong_usage_is_2_and_names_the_word(words: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert named in capsys.readouterr().err


def test_home_may_stand_on_either_side_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCMILL_HOME", str(tmp_path / "elsewhere"))
    for words in (
        ["--home", str(tmp_path / "a"), "status", "--json"],
        ["status", "--json", "--home", str(tmp_path / "b")],
    ):
        assert main(words) == 0
        assert json.loads(capsys.readouterr().out)["home"] == words[words.index("--home") + 1]


def test_a_bad_setting_is_one_line_without_its_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCMILL_HOME", str(tmp_path))
    monkeypatch.setenv("DOCMILL_MAX_ATTEMPTS", "hunter2")
    assert main(["status"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("docmill: DOCMILL_MAX_ATTEMPTS: ")
    assert said.count("\n") == 1
    assert "hunter2" not in said


def test_a_bug_tells_its_place_and_not_its_message() -> None:
    letter = "Dear Anna"
    said = io.StringIO()
    try:
        _break(letter)
    except RuntimeError as error:
        tell_bug(error, said)
    assert "builtins.KeyError" in said.getvalue()
    assert "builtins.RuntimeError" in said.getvalue()
    assert "in _break" in said.getvalue()
    assert letter not in said.getvalue()


def _break(letter: str) -> None:
    try:
        os.environ[letter]
    except KeyError as cause:
        raise RuntimeError(f"no {letter}") from cause


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "scripts.cli", "recipes"],
        stdout=writing,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "DOCMILL_HOME": str(tmp_path)},
        check=False,
    )
    os.close(writing)
    assert done.returncode == 141
    assert b"Traceback" not in done.stderr
