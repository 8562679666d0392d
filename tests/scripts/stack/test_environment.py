from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from config.settings import Settings
from scripts.stack.environment import environment
from scripts.stack.part import ROOT


def test_processes_get_exactly_these_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = Settings(
        home=tmp_path,
        database_url="postgresql://me@db/mill",
        redis_url=SecretStr("redis://:pw@127.0.0.1:1/0"),
        anthropic_api_key=SecretStr("key"),
        anthropic_base_url="http://127.0.0.1:2",
        drain_timeout_s=7,
        log_level="WARNING",
    )
    inherited = {
        "docmill_drain_timeout_s": "99",
        "DOCMILL_MAX_ATTEMPTS": "1",
        "ANTHROPIC_API_KEY": "other",
        "LANG": "C",
    }
    told = environment(given, inherited)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert Settings() == given
    assert told["LANG"] == "C"
    assert "docmill_drain_timeout_s" not in told


def test_without_a_key_none_is_passed_on(tmp_path: Path) -> None:
    given = Settings(home=tmp_path, anthropic_api_key=SecretStr(""), anthropic_base_url="")
    assert "ANTHROPIC_API_KEY" not in environment(given, {"ANTHROPIC_API_KEY": "other"})


def test_our_packages_come_first_and_compiled_files_are_kept() -> None:
    told = environment(Settings(), {"PYTHONPATH": f"/elsewhere:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"})
    assert told["PYTHONPATH"] == f"{ROOT}:/elsewhere"
    assert told["PYTHONSAFEPATH"] == "1"
    assert "PYTHONDONTWRITEBYTECODE" not in told


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqlite:///mine.sqlite3", "sqlite:///{cwd}/mine.sqlite3"),
        ("sqlite:////var/mine.sqlite3", "sqlite:////var/mine.sqlite3"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql://me@db/mill", "postgresql://me@db/mill"),
    ],
)
def test_a_ledger_file_means_the_same_wherever_a_process_runs(url: str, told: str) -> None:
    assert environment(Settings(database_url=url), {})["DOCMILL_DATABASE_URL"] == told.format(cwd=Path.cwd())


def test_the_home_folder_means_the_same_wherever_a_process_runs() -> None:
    assert environment(Settings(home=Path("here")), {})["DOCMILL_HOME"] == str(Path.cwd() / "here")
