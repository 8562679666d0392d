"""Replaying for other programs: a real ledger, a real broker, nobody who takes the messages."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis
from sqlalchemy import update

from config.settings import Settings
from scripts.stack.valkey import ValkeyServer
from tasks.model.job import JobState
from workers.intake import Source, Taken, read
from workers.ledger import LetterFilter
from workers.ledger.tables import jobs
from workers.producer import BadRequest, Producer, Wish
from workers.replaying import Change, DeadLetters, Outcome

LETTERS = 1_500
ALL = LetterFilter(everything=True)


@pytest.fixture
def settings(tmp_path: Path, valkey: ValkeyServer) -> Settings:
    """A home with letters that were all given up, whose first messages are gone from the broker."""
    settings = Settings(home=tmp_path, redis_url=SecretStr(valkey.url))
    with Producer.open(settings) as producer:
        named = [f"letter {n}" for n in range(LETTERS)]
        producer.submit_documents((Taken(Source(name, name), read(name.encode(), name)) for name in named), Wish())
        ended = update(jobs).values(state=JobState.DEAD.value, fault="Rejected", finished_at=producer.database.now())
        producer.database.write(lambda connection: connection.execute(ended))
    with Redis.from_url(valkey.url) as client:
        client.flushdb()
    return settings


def messages(valkey: ValkeyServer) -> Counter[str]:
    """How many messages there are by their Celery id, waiting ones included."""
    with Redis.from_url(valkey.url) as client:
        found: list[bytes] = []
        for key in client.keys("*docmill.*"):
            if client.type(key) == b"list":
                found += client.lrange(key, 0, -1)
            elif b"delayed" in key:
                found += [entry[1:] for entry in client.zrange(key, 0, -1)]
    return Counter(json.loads(message)["headers"]["id"] for message in found)


@pytest.mark.parametrize(
    "replay",
    [
        lambda dead: dead.replay(ALL),
        lambda dead: dead.replay(ALL, per_minute=60),
        lambda dead: dead.replay(ALL, Change(max_tokens=900)),
    ],
    ids=["as it is", "paced", "changed"],
)
def test_of_two_people_one_publishes_each_job(
    settings: Settings, valkey: ValkeyServer, replay: Callable[[DeadLetters], Outcome]
) -> None:
    def person(_: int) -> Outcome:
        with DeadLetters.open(settings) as dead:
            return replay(dead)

    with ThreadPoolExecutor(2) as people:
        one, other = people.map(person, range(2))
    assert one.replayed + other.replayed == LETTERS
    assert one.published + other.published == LETTERS
    sent = messages(valkey)
    assert len(sent) == LETTERS
    assert set(sent.values()) == {1}


def test_an_empty_filter_is_refused(settings: Settings) -> None:
    with DeadLetters.open(settings) as dead:
        for act in (dead.preview, dead.replay, dead.discard):
            with pytest.raises(BadRequest, match="give ids or a filter"):
                act(LetterFilter())
        assert dead.preview(ALL).letters == LETTERS


def test_what_is_given_up_after_a_preview_is_not_in_its_replay(settings: Settings) -> None:
    with DeadLetters.open(settings) as dead:
        wanted = dead.as_of_now(LetterFilter(fault="Rejected"))
        now = dead.database.now()
        late = update(jobs).where(jobs.c.name == "letter 7").values(finished_at=now)
        dead.database.write(lambda connection: connection.execute(late))
        assert dead.preview(wanted).letters == dead.replay(wanted).replayed == LETTERS - 1
