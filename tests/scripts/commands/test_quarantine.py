"""`docmill quarantine` and what `docmill doctor` says of it, on a real broker that was given what nobody can read."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from scripts.stack.valkey import ValkeyServer
from tests.scripts.commands.conftest import ESCAPE, Docmill, Said
from workers.transport import Quarantine
from workers.transport.keys import Keys
from workers.transport.store import Claim, Store

LANE = "docmill.low"
GARBAGE, LIST, DRIVING = b"\x80\x04garbage", b"[1, 2]", f'{{"sneaky": "{ESCAPE}"'.encode()


@pytest.fixture
def client(home: Path, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> redis.Redis:
    monkeypatch.setenv("DOCMILL_REDIS_URL", valkey.url)
    return redis.Redis.from_url(valkey.url)


@pytest.fixture
def quarantine(client: redis.Redis) -> Quarantine:
    """Three messages that a worker which died had claimed, and that cannot be read."""
    store = Store(client, Keys())
    client.lpush(LANE, GARBAGE, LIST, DRIVING)
    store.claim(Claim("1.", 3, [LANE], [3]))
    assert store.restore(store.unacked()) == 0
    return Quarantine(client)


def ids(quarantine: Quarantine) -> dict[bytes, str]:
    return {one.message: one.id for one in quarantine.list()}


def test_doctor_counts_it_and_names_the_way_out(docmill: Docmill, quarantine: Quarantine) -> None:
    (found,) = [one for one in docmill("doctor", "--json").json["findings"] if one["about"] == "quarantine"]
    assert found["grade"] == "warning"
    assert found["said"] == "3 messages that no worker could read"
    assert "docmill quarantine" in found["mend"]


def test_it_is_listed_by_lane_and_reason_or_each(docmill: Docmill, quarantine: Quarantine) -> None:
    groups = docmill("quarantine").out.splitlines()
    assert [line.split()[:2] for line in groups] == [["lane", "messages"], *[["docmill.low", "1"]] * 3]
    assert "a JSON list" in groups[1]
    each = docmill("quarantine", "--each").out
    assert all(id_ in each for id_ in ids(quarantine).values())
    told = docmill("quarantine", "--json").json
    assert [(one["lane"], one["reason"]) for one in told] == [
        (LANE, "a JSON list, not an object"),
        (LANE, "not JSON (JSONDecodeError)"),
        (LANE, "not JSON (UnicodeDecodeError)"),
    ]
    assert told[0]["size_bytes"] == len(LIST)


def test_a_message_is_shown_as_it_came_and_cannot_drive_the_terminal(docmill: Docmill, quarantine: Quarantine) -> None:
    known = ids(quarantine)
    assert docmill("quarantine", "show", known[LIST]).out == "[1, 2]\n"
    assert docmill("quarantine", "show", known[GARBAGE]).out == "\\x80\ufffdgarbage\n"
    assert ESCAPE not in docmill("quarantine", "show", known[DRIVING]).out


def test_it_is_put_back_or_dropped_by_id_by_reason_or_all(
    docmill: Docmill, quarantine: Quarantine, client: redis.Redis
) -> None:
    assert docmill("quarantine", "drop", "--reason", "JSON list", "--yes").out == "1 message dropped\n"
    assert docmill("quarantine", "requeue", ids(quarantine)[GARBAGE], "--yes").out == "1 message put back\n"
    assert client.lrange(LANE, 0, -1) == [GARBAGE]
    assert docmill("quarantine", "requeue", "--all", "--dry-run").out == "1 message would be put back\n"
    assert docmill("quarantine", "drop", "--all", "--yes", "--json").json == {"messages": 1, "dry_run": False}
    assert quarantine.count() == 0
    assert docmill("quarantine").out == "the quarantine is empty\n"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["drop"], "name messages by id"),
        (["drop", "--all", "--reason", "x"], "name messages by id"),
        (["drop", "--reason", ""], "name messages by id"),
        (["drop", "no-such"], "no message 'no-such' in quarantine"),
        (["show", ""], "give more of it"),
        (["drop", "--all"], "say --yes"),
    ],
)
def test_what_is_not_said_clearly_changes_nothing(
    docmill: Docmill, quarantine: Quarantine, words: list[str], why: str
) -> None:
    said: Said = docmill("quarantine", *words)
    assert said.code == 2
    assert why in said.err
    assert said.err.count("\n") == 1
    assert quarantine.count() == 3
