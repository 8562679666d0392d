"""`docmill lanes`, and how other commands tell of paused lanes: on a real broker, without workers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
from sqlalchemy import insert, update

from config.settings import load_settings
from scripts.commands.lanes import _use
from scripts.commands.shared.backlog import Limit, Typical, _seconds_left
from scripts.commands.shared.lanes import PauseNotes, tell
from scripts.stack.valkey import ValkeyServer
from tasks.rules.feeding import HEAD
from tasks.rules.limiting import Amounts, Pace
from tests.scripts.commands.conftest import Docmill, Past
from tests.values import HAIKU
from workers.ledger import Database, open_database
from workers.ledger.tables import budget_use, calls, workers
from workers.limiter.bucket import Buckets, Word
from workers.transport import Keys, Pause, Pauses

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


HALF = Limit(Amounts(requests=100), Amounts(), 0.5)
GENEROUS = Limit(Amounts(1_000_000, 1_000_000_000, 1_000_000_000), Amounts(), 0.95)
LIKE = Typical(call_s=1.0, used=Amounts(1, 1_000, 50))


@pytest.mark.parametrize(
    ("limit", "lately", "typical", "left"),
    [
        (None, (60, 60.0), None, 200.0),
        (None, None, None, None),
        (HALF, None, LIKE, 240.0),
        (HALF, (20, 10.0), LIKE, 100.0),
        (HALF, None, None, None),  # how long a call takes, nobody knows
        (GENEROUS, None, LIKE, 4.0),  # 50 slots
        (GENEROUS, None, replace(LIKE, call_s=30.0), 120.0),
        (None, None, LIKE, 4.0),
        (replace(GENEROUS, limit=Amounts(1_000_000, 60_000, 1_000_000)), None, LIKE, 200 / 0.95),
        (replace(GENEROUS, limit=Amounts(1_000_000, 0, 1_000)), None, LIKE, 600 / 0.95),
    ],
)
def test_the_time_left_is_by_what_was_sent_lately_or_by_slots_and_limits(
    limit: Limit | None, lately: tuple[int, float] | None, typical: Typical | None, left: float | None
) -> None:
    assert _seconds_left(200, lately, 50, typical, limit) == (left if left is None else pytest.approx(left))


def test_without_workers_nobody_can_tell_the_time_left() -> None:
    assert _seconds_left(200, None, 0, LIKE, GENEROUS) is None


@pytest.fixture
def idle(home: Path, past: Past, valkey: ValkeyServer) -> Iterator[Database]:
    """A worker, generous limits, and calls that took 5 s: the last of them ten minutes ago."""
    Buckets(redis.Redis.from_url(valkey.url), Keys(), Pace()).tell(
        Word(f"key:{HAIKU}", "w", learned=Amounts(1_000_000, 1_000_000_000, 1_000_000_000))
    )
    with open_database(load_settings().ledger_url) as database:
        now = database.now()
        ended = now - timedelta(minutes=10)
        sent = update(calls).values(characters=100, sent_at=ended - timedelta(seconds=5), finished_at=ended)
        worker = {"id": "w", "host": "here", "pid": 1, "started_at": now, "seen_at": now}
        database.write(lambda connection: (connection.execute(sent), connection.execute(insert(workers), worker)))
        yield database


def low_left(docmill: Docmill) -> float | None:
    left: dict[str, float | None] = {line["lane"]: line["seconds_left"] for line in docmill("lanes", "--json").json}
    return left["docmill.low"]


def test_before_anything_is_sent_the_time_left_is_by_slots_and_past_calls(docmill: Docmill, idle: Database) -> None:
    assert low_left(docmill) == pytest.approx(5 / 200)  # one job, and the slots of one worker


def test_nobody_can_tell_how_long_jobs_take_that_wait_for_money(
    docmill: Docmill, idle: Database, past: Past, tmp_path: Path
) -> None:
    docmill("budget", "set", "submission", past.older, "--hard", "0.001")
    spent = update(budget_use).values(refused_at=idle.now(), spent_nanousd=1_000_000)
    idle.write(lambda connection: connection.execute(spent))
    assert low_left(docmill) is None
    assert "?" in docmill("lanes").out
    idle.write(lambda connection: connection.execute(update(calls).values(sent_at=idle.now())))
    assert low_left(docmill) is None  # others go on, but it is first in line
    docmill("budget", "set", "submission", past.older, "--hard", "50")
    assert low_left(docmill) is not None


def test_nobody_can_tell_how_long_jobs_take_while_the_day_is_spent(docmill: Docmill, idle: Database) -> None:
    docmill("budget", "set", "day", "--hard", "0.001")
    spent = update(budget_use).values(refused_at=idle.now(), spent_nanousd=1_000_000)
    idle.write(lambda connection: connection.execute(spent))
    assert low_left(docmill) is None


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
