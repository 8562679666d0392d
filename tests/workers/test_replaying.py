"""Replaying for other programs: a real ledger, a real broker, nobody who takes the messages."""

from __future__ import annotations

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
from workers.ledger import LetterFilter, waiting
from workers.ledger.tables import jobs
from workers.producer import BadRequest, Producer, Wish
from workers.replaying import Change, DeadLetters, Outcome
from workers.transport import Bell

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


def queued(settings: Settings) -> int:
    """Jobs that wait in a line."""
    with Producer.open(settings) as producer:
        return sum(waiting(producer.database, producer.catalogue.queues).values())


@pytest.mark.parametrize(
    "replay",
    [
        lambda dead: dead.replay(ALL),
        lambda dead: dead.replay(ALL, per_minute=60),
        lambda dead: dead.replay(ALL, Change(max_tokens=900)),
    ],
    ids=["as it is", "paced", "changed"],
)
def test_of_two_people_one_queues_each_job(
    settings: Settings, valkey: ValkeyServer, replay: Callable[[DeadLetters], Outcome]
) -> None:
    def person(_: int) -> Outcome:
        with DeadLetters.open(settings) as dead:
            return replay(dead)

    with ThreadPoolExecutor(2) as people:
        one, other = people.map(person, range(2))
    assert one.replayed + other.replayed == LETTERS
    assert queued(settings) == LETTERS
    with Redis.from_url(valkey.url) as client:
        assert Bell(client).rung() == {"docmill.low"}


def test_a_replay_goes_on_without_a_broker(settings: Settings, valkey: ValkeyServer) -> None:
    nowhere = settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")})
    with DeadLetters.open(nowhere) as dead:
        assert dead.replay(ALL).replayed == LETTERS
    assert queued(settings) == LETTERS


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
