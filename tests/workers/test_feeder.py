"""The feeder on a real ledger and a real broker, with nobody who takes the messages but these tests."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis
from sqlalchemy import event

from config.settings import Settings
from scripts.stack.valkey import ValkeyServer
from tasks.model.job import Message
from tasks.model.priority import Priority
from tasks.rules.feeding import HEAD, LEAST
from workers import feeder as module
from workers.broker import publish
from workers.feeder import Feeder
from workers.intake import Source, Taken, read
from workers.ledger import waiting
from workers.pool import AsyncioCelery
from workers.producer import Producer, Receipt, Wish
from workers.transport import Bell, BrokerRefused, Depth, Pauses, depths

LANE = "docmill.low"
SLOTS = 20
JOBS = HEAD + 100


@pytest.fixture
def settings(tmp_path: Path, valkey: ValkeyServer) -> Settings:
    return Settings(home=tmp_path, redis_url=SecretStr(valkey.url))


@pytest.fixture
def producer(settings: Settings) -> Iterator[Producer]:
    with Producer.open(settings) as opened:
        yield opened


@pytest.fixture
def client(valkey: ValkeyServer) -> Iterator[Redis]:
    with Redis.from_url(valkey.url) as opened:
        opened.flushdb()
        yield opened


@pytest.fixture
def feeder(producer: Producer, client: Redis) -> Feeder:
    return a_feeder(producer)


def a_feeder(producer: Producer) -> Feeder:
    return Feeder(producer.broker, producer.database, {LANE: SLOTS}, owner_timeout_s=10)


def submit(producer: Producer, count: int, letter: str = "a", priority: Priority = Priority.NORMAL) -> Receipt:
    named = [f"{letter}-{n}" for n in range(count)]
    documents = (Taken(Source(name, name), read(name.encode(), name)) for name in named)
    return producer.submit_documents(documents, Wish(priority=priority))


def depth(client: Redis) -> Depth:
    return depths(client, [LANE])[LANE]


def ready(client: Redis) -> int:
    return sum(depth(client).ready.values())


def take(client: Redis) -> list[str]:
    """All messages of the lane, the most urgent first and then the oldest, as workers would; their jobs' ids."""
    ids = []
    for key in (LANE, f"{LANE}\x06\x163", f"{LANE}\x06\x166"):
        while (message := client.rpop(key)) is not None:
            assert isinstance(message, bytes)
            ids.append(json.loads(message)["headers"]["id"].partition(".")[0])
    return ids


def line(producer: Producer) -> int:
    return waiting(producer.database, [LANE])[LANE]


def take_all(producer: Producer, client: Redis, feeder: Feeder) -> list[str]:
    """Take and feed until nothing is left."""
    taken = take(client)
    while feeder.feed() or ready(client):
        taken += take(client)
    return taken


def test_the_first_few_are_published_at_once_and_the_rest_is_fed_as_it_is_taken(
    producer: Producer, client: Redis, feeder: Feeder
) -> None:
    submit(producer, JOBS)
    assert (ready(client), line(producer)) == (HEAD, 100)
    assert feeder.feed() == 0  # more than there are slots for
    taken = take(client)
    assert feeder.feed() >= LEAST + SLOTS
    assert ready(client) + line(producer) == 100
    taken += take_all(producer, client, feeder)
    assert (len(taken), len(set(taken)), line(producer)) == (JOBS, JOBS, 0)


def test_a_small_submission_behind_a_large_one_is_in_the_next_portion(
    producer: Producer, client: Redis, feeder: Feeder
) -> None:
    submit(producer, 300)
    small = submit(producer, 5, "small")
    assert ready(client) == HEAD
    take(client)
    feeder.feed()
    ids = {result.job_id for result in producer.results(small.submission_id)}
    assert ids <= set(take(client))


def test_the_urgent_are_taken_first_and_the_others_get_their_share(
    producer: Producer, client: Redis, feeder: Feeder
) -> None:
    receipts = {priority: submit(producer, 200, priority.value, priority) for priority in reversed(Priority)}
    of = {
        result.job_id: priority
        for priority, receipt in receipts.items()
        for result in producer.results(receipt.submission_id)
    }
    take(client)
    feeder.feed()
    assert set(depth(client).ready) == {0, 3, 6, 9}
    taken = [of[job_id] for job_id in take(client)]
    assert Counter(taken).most_common(1)[0][0] is Priority.HIGH
    assert taken == sorted(taken, key=list(Priority).index)
    assert Priority.LOW in taken


def test_one_feeds_at_a_time_and_another_when_it_is_gone(producer: Producer, client: Redis, feeder: Feeder) -> None:
    submit(producer, JOBS)
    other = a_feeder(producer)
    take(client)
    assert feeder.feed() > 0
    take(client)
    assert other.feed() == 0
    client.delete("feeder")  # as when its time is over
    assert other.feed() > 0


def test_nothing_is_asked_of_the_ledger_while_nothing_waits(producer: Producer, client: Redis, feeder: Feeder) -> None:
    submit(producer, 5)
    asked: list[object] = []
    event.listen(producer.database.engine, "before_cursor_execute", lambda *said: asked.append(said[2]))
    for _ in range(3):
        assert feeder.feed() == 0
    assert asked == []


@pytest.mark.parametrize("step", ["publish", "mark_published"])
def test_whoever_dies_in_between_loses_nothing(
    producer: Producer, client: Redis, feeder: Feeder, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it published, or before it noted that it had: each job comes at least once."""
    submit(producer, JOBS)
    taken = take(client)
    with monkeypatch.context() as dying:
        dying.setattr(module, step, _die)
        with pytest.raises(KeyboardInterrupt):
            feeder.feed()
    client.delete("feeder")
    taken += take_all(producer, client, a_feeder(producer))
    assert len(set(taken)) == JOBS
    assert line(producer) == 0


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def test_two_that_feed_at_once_send_a_message_too_many_at_most(
    producer: Producer, client: Redis, feeder: Feeder, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(producer, JOBS)
    taken = take(client)
    others = iter([a_feeder(producer)])

    def publish_twice(app: AsyncioCelery, messages: Sequence[Message]) -> None:
        other = next(others, None)
        if other is not None:
            client.delete("feeder")
            other.feed()
        publish(app, messages)

    monkeypatch.setattr(module, "publish", publish_twice)
    feeder.feed()
    monkeypatch.undo()
    taken += take_all(producer, client, feeder)
    client.delete("feeder")
    taken += take_all(producer, client, feeder)
    assert len(set(taken)) == JOBS


def test_a_broker_that_takes_nothing_is_fed_later(producer: Producer, client: Redis, feeder: Feeder) -> None:
    submit(producer, JOBS)
    taken = take(client)
    client.config_set("maxmemory", "1")
    with pytest.raises(BrokerRefused):
        feeder.feed()
    assert line(producer) == 100
    client.config_set("maxmemory", "0")
    taken += take_all(producer, client, feeder)
    assert len(set(taken)) == JOBS


@pytest.mark.parametrize("who", ["sweeper", "new worker"])
def test_what_the_broker_forgot_is_fed_once_somebody_asks_for_it(
    producer: Producer, client: Redis, feeder: Feeder, who: str
) -> None:
    submit(producer, JOBS)
    client.flushdb()
    assert feeder.feed() == 0
    if who == "sweeper":
        Bell(client).ring([LANE])
    else:
        feeder = a_feeder(producer)
        assert feeder.begin() > 0
    assert len(take_all(producer, client, feeder)) == 100


def test_a_paused_lane_is_not_fed_for_slots_that_take_nothing(
    producer: Producer, client: Redis, feeder: Feeder
) -> None:
    submit(producer, JOBS)
    take(client)
    Pauses(client).pause([LANE], "no credit", by="worker", seconds=60, fault="BillingStopped")
    feeder.feed()
    assert ready(client) == LEAST


def test_what_is_cancelled_in_line_is_never_fed(producer: Producer, client: Redis, feeder: Feeder) -> None:
    receipt = submit(producer, JOBS)
    taken = take(client)
    assert len(producer.cancel_submission(receipt.submission_id)) == JOBS
    assert take_all(producer, client, feeder) == []
    assert len(taken) == HEAD


def test_a_document_of_two_submissions_has_one_message(producer: Producer, client: Redis, feeder: Feeder) -> None:
    submit(producer, JOBS)
    again = submit(producer, JOBS)
    assert again.accepted == 0
    taken = take_all(producer, client, feeder)
    assert (len(taken), len(set(taken))) == (JOBS, JOBS)
