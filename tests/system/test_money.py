"""Every way a call can end has a row, and every nano-dollar of the far side's bill is in the ledger or named by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.bench.money import explain, run
from scripts.cli import main
from tasks.model.call import CallState
from tests.system.mill import Mill
from workers.ledger import CallLine, story

ANSWERED, FAILED, UNKNOWN = CallState.ANSWERED, CallState.FAILED, CallState.UNKNOWN
ENDS: dict[str, list[tuple[CallState, str | None]]] = {
    "": [(ANSWERED, None)],
    "{{sim:refusal}}": [(ANSWERED, "Refused")],
    "{{sim:truncatedx1}}": [(ANSWERED, "Truncated"), (ANSWERED, None)],
    "{{sim:bad_outputx1}}": [(ANSWERED, "BadOutput"), (ANSWERED, None)],
    "{{sim:400}}": [(FAILED, "Rejected")],
    "{{sim:429:0.1x1}}": [(FAILED, "RateLimited"), (ANSWERED, None)],
    "{{sim:500x1}}": [(FAILED, "ServerFailed"), (ANSWERED, None)],
    "{{sim:529x1}}": [(FAILED, "Overloaded"), (ANSWERED, None)],
    "{{sim:error_eventx1}}": [(FAILED, "Overloaded"), (ANSWERED, None)],
    "{{sim:cutx1}}": [(UNKNOWN, "Interrupted"), (ANSWERED, None)],
    "{{sim:badjsonx1}}": [(UNKNOWN, "Interrupted"), (ANSWERED, None)],
    "{{sim:hangx1}}": [(UNKNOWN, "TimedOut"), (ANSWERED, None)],
}
HANG = "{{sim:hangx1}}"
"""Told by its silence where the answer is streamed; else only by the call's deadline, which is too long for a test."""


@pytest.mark.timeout(120)
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_every_way_a_call_ends_is_booked(tmp_path: Path, *, streamed: bool) -> None:
    expected = {marker: ends for marker, ends in ENDS.items() if streamed or marker != HANG}
    with Mill(tmp_path, settings={"silence_timeout_s": 3 if streamed else 30}) as mill:
        mill.start_worker()
        texts = [f"{marker} {{{{sim:doc:doc-{n}}}}} Letter {n}: it came." for n, marker in enumerate(expected)]
        results = mill.finish(mill.submit(texts, recipe="classify"))
        for result, (marker, ends) in zip(results, expected.items(), strict=True):
            sent = _calls(mill, result.job_id)
            assert [(call.state, call.fault) for call in sent] == ends, marker
            for call in sent:
                assert (call.price is None) == (call.state is not ANSWERED)
                assert (call.cost_nanousd is None) == (call.state is UNKNOWN)
                assert call.estimate_nanousd
                assert call.finished_at is not None
        rows = mill.bill()
        assert {row["stream"] for row in rows} == {streamed}
        found = explain(mill.producer.database, rows)
        assert (found.unexplained, found.unexplained_nanousd, found.miscounted) == ([], 0, [])
        assert found.requests["billed to an unknown call"] == found.unknown_calls == 2 + streamed


def _calls(mill: Mill, job_id: str) -> tuple[CallLine, ...]:
    told = story(mill.producer.database, job_id)
    assert told is not None
    return told.calls


@pytest.mark.timeout(180)
def test_no_nano_dollar_is_unexplained_when_workers_are_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found, how = run(tmp_path, count=150, seed=3, workers=1, kills=1)
    assert (found.unexplained, found.unexplained_nanousd, found.miscounted) == ([], 0, [])
    assert how["kills"] == 1
    assert how["multiplied"].keys() == {"long_prompt", "us_only"}
    assert how["cache_write_5m_tokens"] > 0
    assert how["cache_read_tokens"] > 0
    assert found.unknown_calls > 0
    assert _reconciled(tmp_path, monkeypatch, capsys)["requests"] == {
        "equal": found.requests["booked as billed"],
        "different": [],
        "unbooked": found.requests["billed to an unknown call"],
        "unbooked_nanousd": found.unknown_nanousd,
        "unbilled": 0,
        "unbilled_nanousd": 0,
    }


def _reconciled(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setenv("DOCMILL_HOME", str(home))
    main(["costs", "reconcile", str(home / "bill.json"), "--json"])
    return json.loads(capsys.readouterr().out)
