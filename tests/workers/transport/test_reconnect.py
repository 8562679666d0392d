"""The broker dies and comes back while tasks run."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest
from kombu import Consumer, Producer, Queue

from tests.workers.transport.conftest import System, connect, wait_for


@pytest.mark.parametrize(("pool", "in_flight"), [("threads", 200), ("prefork", 4)])
def test_what_runs_while_redis_is_killed_runs_once(system: System, pool: str, in_flight: int) -> None:
    system.start_worker(f"--pool={pool}", f"--concurrency={in_flight}")
    gate = system.folder / "gate"
    for n in range(in_flight):
        system.app.send_task("work_until", (f"running-{n}", str(gate)), queue="lane")
    for n in range(20):
        system.app.send_task("work", (f"waiting-{n}",), queue="lane")
    wait_for(lambda: len(system.executions("start")) == in_flight)

    system.server.kill()
    system.server.start()
    wait_for(lambda: "run on" in system.log())
    gate.touch()

    wait_for(lambda: len(system.executions("end")) == in_flight + 20)
    wait_for(lambda: system.client.hlen("unacked") == 0)
    assert set(Counter(system.executions("start")).values()) == {1}
    assert system.workers[0].poll() is None


def test_closing_a_channel_whose_transport_is_gone_raises_nothing(system: System) -> None:
    with system.app.connection_for_read() as connection:
        channel = connection.channel()
        message = taken(channel)
        connection.collect()
        channel.close()
        message.ack()


def taken(channel: Any) -> Any:
    """A message that the channel holds."""
    Producer(channel).publish(1, routing_key="lane", declare=[Queue("lane")])
    message = channel.basic_get("lane")
    assert message is not None
    return message


def test_an_ack_that_comes_while_the_connection_is_away_is_told_after_it(system: System) -> None:
    """The message goes back only if nobody acked it by then."""
    url, lanes = system.server.url, [Queue("lane")]
    with connect(url) as connection:
        channel = connection.channel()
        with Consumer(channel, lanes, on_message=print, accept=["json"]):
            acked, dropped = taken(channel), taken(channel)
            connection.collect()
        acked.ack()
        assert system.client.hlen("unacked") == 2
        again = connection.channel()
        with Consumer(again, lanes, on_message=print, accept=["json"]):
            assert system.client.hlen("unacked") == 0
            assert system.client.llen("lane") == 1
            dropped.ack()  # too late: it is in its lane again


def test_messages_whose_claim_was_not_answered_come_back_with_the_connection(system: System) -> None:
    with connect(system.server.url) as connection:
        channel = connection.channel()
        got: list[Any] = []
        channel.basic_get("lane")  # Redis knows the script from here on
        Producer(channel).publish(1, routing_key="lane", declare=[Queue("lane")])
        with Consumer(channel, [Queue("lane")], on_message=got.append, accept=["json"]):
            connection.transport.cycle.on_poll_start()  # asks
            wait_for(lambda: system.client.hlen("unacked") == 1)
            connection.collect()  # and never hears
        with Consumer(connection.channel(), [Queue("lane")], on_message=got.append, accept=["json"]):
            connection.drain_events(timeout=5)
        assert [message.payload for message in got] == [1]


def test_a_redis_that_has_just_come_back_declares_nobody_silent(system: System) -> None:
    """Two workers: neither takes what the other runs, though Redis was away longer than the visibility timeout."""
    gate = system.folder / "gate"
    for _ in range(2):
        system.start_worker("--pool=threads", "--concurrency=5", VISIBILITY_S=2)
    for n in range(10):
        system.app.send_task("work_until", (n, str(gate)), queue="lane")
    wait_for(lambda: len(system.executions("start")) == 10)
    system.server.kill()
    time.sleep(2.5)
    system.server.start()
    wait_for(lambda: all("run on" in system.log(number) for number in range(2)))
    time.sleep(2.5)  # longer than the timeout: time enough for a wrong restore
    gate.touch()
    wait_for(lambda: len(system.executions()) >= 10)
    wait_for(lambda: system.client.hlen("unacked") == 0)
    assert len(system.executions("start")) == 10
