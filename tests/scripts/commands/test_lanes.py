"""`docmill lanes`, and how other commands tell of paused lanes: on a real broker, without workers."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis

from config.settings import load_settings
from scripts.commands.lanes import _use
from scripts.commands.shared.backlog import Limit, _seconds_left
from scripts.commands.shared.lanes import PauseNotes, tell
from scripts.stack.valkey import ValkeyServer
from tasks.rules.feeding import HEAD
from tasks.rules.limiting import Amounts
from tests.scripts.commands.conftest import Docmill
from workers.transport import Pause, Pauses

QUEUES = ["docmill.low", "docmill.medium", "docmill.high", "docmill.suspect"]
NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _broker(home: Path, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCMILL_REDIS_URL", valkey.url)


@pytest.fixture
def pauses(valkey: ValkeyServer) -> Pauses:
    return Pauses(redis.Redis.from_url(valkey.url))


def a_pause(fault: str = "Unauthorized", seconds: float | None = 40, by: str = "worker") -> Pause:
    until = None if seconds is None else NOW + timedelta(seconds=seconds)
    return Pause("a reason", fault, by, NOW, until, is_half_open=bool(seconds and seconds < 0))


def test_a_lane_is_paused_and_resumed_by_hand(docmill: Docmill, pauses: Pauses) -> None:
    assert docmill("lanes", "pause", "low", "--reason", "the bill\nis odd").code == 0
    assert pauses.read(QUEUES)["docmill.low"].reason == "the bill is odd"
    shown = docmill("lanes")
    assert "paused by " in shown.out
    assert "the bill is odd; until resumed" in shown.out
    assert shown.out.count("open") == 3
    assert "docmill lanes resume" in shown.err
    assert docmill("lanes", "resume", "docmill.low").out == "resumed: docmill.low\n"
    assert pauses.read(QUEUES) == {}
    assert "nothing to resume" in docmill("lanes", "resume", "all").out


def test_all_lanes_at_once(docmill: Docmill, pauses: Pauses) -> None:
    docmill("lanes", "pause", "all")
    assert list(pauses.read(QUEUES)) == QUEUES
    assert docmill("lanes", "resume", "all").out == f"resumed: {', '.join(QUEUES)}\n"


def test_a_lane_there_is_not(docmill: Docmill) -> None:
    said = docmill("lanes", "pause", "lwo")
    assert said.code == 2
    assert "no lane 'lwo': choose one of low, medium, high, docmill.low" in said.err


def test_lanes_for_a_program(docmill: Docmill, pauses: Pauses) -> None:
    pauses.pause(["docmill.high"], "over the rate limit", by="worker", seconds=60, fault="RateLimited")
    lines = {line["lane"]: line for line in json.loads(docmill("lanes", "--json").out)}
    assert list(lines) == QUEUES
    assert lines["docmill.low"]["pause"] is None
    assert lines["docmill.high"]["model"] == "claude-sonnet-4-6"
    assert lines["docmill.high"]["pause"]["fault"] == "RateLimited"
    assert lines["docmill.suspect"]["model"] is None


def test_status_and_doctor_tell_of_paused_lanes(docmill: Docmill, pauses: Pauses) -> None:
    pauses.pause(QUEUES, "the API key is not accepted", by="worker", seconds=60, fault="Unauthorized")
    assert "are paused: the API key is not accepted; tried again in " in docmill("status").out
    lanes = json.loads(docmill("status", "--json").out)["lanes"]
    assert {lane["paused"]["fault"] for lane in lanes} == {"Unauthorized"}
    doctor = docmill("doctor").out
    assert "ANTHROPIC_API_KEY, and start again" in doctor


def test_one_trouble_is_one_line_whatever_it_stops() -> None:
    told = tell({"a": a_pause(), "b": a_pause(), "c": a_pause("RateLimited", -1), "d": a_pause("", None, "anna")}, NOW)
    assert told == [
        ("lanes a, b are paused: a reason; tried again in 40 s", told[0][1]),
        ("lane c is paused: a reason; tried with one job at a time", ""),
        ("lane d is paused by anna: a reason; until resumed", "`docmill lanes resume` lets it work again"),
    ]
    assert "ANTHROPIC_API_KEY" in told[0][1]


def test_who_waits_is_told_once(docmill: Docmill, pauses: Pauses, capsys: pytest.CaptureFixture[str]) -> None:
    notes = PauseNotes(load_settings())
    pauses.pause(QUEUES, "no credit", by="worker", seconds=60, fault="BillingStopped")
    for _ in range(3):
        notes._next_look = 0
        notes.look()
    said = capsys.readouterr().err
    assert said.count("no credit") == 1
    assert "jobs wait there and lose nothing" in said


def test_a_lane_tells_what_waits_and_how_long_it_takes(docmill: Docmill, home: Path, tmp_path: Path) -> None:
    letters = tmp_path / "letters.jsonl"
    letters.write_text("".join(json.dumps({"id": str(n), "text": f"letter {n}"}) + "\n" for n in range(HEAD + 30)))
    assert docmill("submit", str(letters)).code == 0
    low = {line["lane"]: line for line in json.loads(docmill("lanes", "--json").out)}["docmill.low"]
    assert (low["ready"], low["waiting"], low["in_flight"], low["slots"]) == (HEAD, 30, 0, 0)
    assert low["seconds_left"] is None
    assert low["limit"] is None
    assert "?" in docmill("lanes").out
    status = json.loads(docmill("status", "--json").out)["lanes"]
    assert [lane["waiting"] for lane in status if lane["lane"] == "docmill.low"] == [30]
    assert "in line for the broker" in docmill("doctor").out


@pytest.mark.parametrize(
    ("limit", "lately", "left"),
    [
        (None, (60, 60.0), 200.0),
        (None, None, None),
        (Limit(Amounts(requests=100), Amounts(), 0.5), None, 240.0),
        (Limit(Amounts(requests=100), Amounts(), 0.5), (20, 10.0), 100.0),
    ],
)
def test_the_time_left_is_by_what_was_sent_lately_or_by_the_limit(
    limit: Limit | None, lately: tuple[int, float] | None, left: float | None
) -> None:
    assert _seconds_left(200, lately, limit) == left


def test_the_limit_that_is_used_most_is_told() -> None:
    assert _use(Limit(Amounts(4_000, 400_000, 80_000), Amounts(1_000, 360_000, 8_000), 0.95)) == (
        "90 % of 400,000 input tokens/min"
    )
    assert _use(Limit(Amounts(), Amounts(5, 5, 5), 1.0)) == ""


def test_a_priority_is_kept_with_the_job(docmill: Docmill, tmp_path: Path) -> None:
    letters = tmp_path / "letters.jsonl"
    lines = [{"id": "a", "text": "a"}, {"id": "b", "text": "b", "priority": "low"}]
    letters.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert docmill("submit", "--priority", "high", str(letters)).code == 0
    jobs = {line["name"]: line["job_id"] for line in docmill("results").lines}
    assert docmill("show", jobs["a"], "--json").json["job"]["priority"] == "high"
    assert "low priority" in docmill("show", jobs["b"]).out
