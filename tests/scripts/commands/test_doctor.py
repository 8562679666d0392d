"""`docmill doctor`: what is missing is named with its way out, and no secret is printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scripts.stack.valkey import ValkeyServer, free_port
from tests.scripts.commands.conftest import Docmill, Said


def findings(said: Said) -> dict[str, dict[str, Any]]:
    return {finding["about"]: finding for finding in said.json["findings"]}


def test_a_bare_laptop_is_healthy_and_nothing_is_made(docmill: Docmill, home: Path) -> None:
    said = docmill("doctor", "--json")
    assert said.code == 0
    assert not {one["about"]: one for one in said.json["findings"] if one["grade"] == "missing"}
    assert findings(said)["claude"]["grade"] == "note"
    assert not home.exists()


def test_what_cannot_be_reached_is_missing_with_a_way_out(docmill: Docmill, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("DOCMILL_REDIS_URL", f"redis://:hunter2@127.0.0.1:{port}/0")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-hunter2")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", f"http://127.0.0.1:{port}")
    table, said = docmill("doctor"), docmill("doctor", "--json")
    assert (table.code, said.code) == (1, 1)
    assert "hunter2" not in table.out + table.err + said.out + said.err
    told = findings(said)
    for about in ("broker", "claude"):
        assert told[about]["grade"] == "missing"
        assert str(port) in told[about]["said"] or "127.0.0.1" in told[about]["said"]
        assert told[about]["mend"]


def test_a_broken_file_is_named(docmill: Docmill, home: Path) -> None:
    (home / "recipes").mkdir(parents=True)
    (home / "recipes" / "torn.toml").write_text("system = ")
    (home / "catalogue.toml").write_text("[routes]\nlow = 'claude-nowhere'\n")
    told = findings(docmill("doctor", "--json"))
    assert "torn.toml" in told["recipes"]["said"]
    assert "claude-nowhere" in told["catalogue"]["said"]
    assert docmill("doctor").code == 1


def test_a_broker_that_answers_is_ok_and_its_quarantine_counted(
    docmill: Docmill, shared_valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCMILL_REDIS_URL", shared_valkey.url)
    said = docmill("doctor", "--json")
    assert findings(said)["broker"]["grade"] == "ok"
    assert findings(said)["quarantine"]["said"] == "empty"


def test_answers_that_were_put_aside_are_counted_with_the_way_back(docmill: Docmill, home: Path) -> None:
    assert findings(docmill("doctor", "--json"))["spool"]["grade"] == "ok"
    (home / "spool").mkdir(parents=True)
    for name in ("worker-a.unsettled", "worker-b.unsettled", "worker-c.spool"):
        (home / "spool" / name).touch()
    said = docmill("doctor", "--json")
    told = findings(said)["spool"]
    assert said.code == 0, "everything works"
    assert told["grade"] == "warning"
    assert told["said"] == f"2 files of paid answers that could not be settled: {home}/spool/*.unsettled"
    assert "rename each to *.spool" in told["mend"]


def test_a_database_that_is_none_is_missing(docmill: Docmill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCMILL_DATABASE_URL", f"postgresql://me:hunter2@127.0.0.1:{free_port()}/none")
    said = docmill("doctor", "--json")
    assert said.code == 1
    assert findings(said)["ledger"]["grade"] == "missing"
    assert "hunter2" not in said.out
