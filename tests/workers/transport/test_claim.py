"""Taking messages: nothing lost, the right ones first, and no more than a lane allows."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from typing import Any

import pytest
from kombu import Consumer, Producer, Queue

from tests.workers.transport.conftest import System, connect, kill, stop, wait_for
from workers.transport import LaneLimits, Outgoing, depths, publish_many

OURS = "workers.transport.transport:Transport"
STOCK = "kombu.transport.redis:Transport"


def drain(connection: Any, lanes: list[str], count: int, *, credit: int = 0) -> list[Any]:
    """The bodies of the next `count` messages in the order they are delivered, each acked."""
    bodies: list[Any] = []

    def on_message(message: Any) -> None:
        bodies.append(message.payload)
        message.ack()

    channel = connection.channel()
    channel.basic_qos(0, credit, False)
    with Consumer(channel, [Queue(lane) for lane in lanes], on_message=on_message, accept=["json"]):
        while len(bodies) < count:
            connection.drain_events(timeout=5)
    return bodies


@pytest.mark.timeout(150)
def test_no_kill_loses_a_message(system: System) -> None:
    """A worker is killed, or stopped and then killed, again and again while messages pour through."""
    chance = random.Random(7)
    total = 1000
    publish_many(system.app, [Outgoing("work", (n, 0.01), "lane") for n in range(total)])
    for _ in range(4):
        worker = system.start_worker("--pool=threads", "--concurrency=20", VISIBILITY_S=2)
        time.sleep(chance.uniform(0.0, 0.3))
        if chance.random() < 0.5:
            os.kill(worker.pid, signal.SIGSTOP)
            time.sleep(0.2)
        kill(worker)
    system.start_worker("--pool=threads", "--concurrency=20", VISIBILITY_S=2)
    wait_for(lambda: len(set(system.executions())) == total)
    wait_for(lambda: system.client.hlen("unacked") == 0)


def test_a_held_mutex_of_stock_kombu_does_not_stop_redelivery(system: System) -> None:
    system.app.send_task("work", ("orphan", 60), queue="lane")
    worker = system.start_worker("--pool=threads", "--concurrency=2", VISIBILITY_S=2)
    wait_for(lambda: system.executions("start") == ["orphan"])
    kill(worker)
    system.client.set("unacked_mutex", "somebody", ex=300)
    system.start_worker("--pool=threads", "--concurrency=2", VISIBILITY_S=2)
    wait_for(lambda: len(system.executions("start")) == 2, timeout_s=10)


def test_a_short_visibility_timeout_is_safe_for_long_tasks(system: System) -> None:
    for _ in range(2):
        system.start_worker("--pool=threads", "--concurrency=2", VISIBILITY_S=5)
    system.app.send_task("work", ("long", 8), queue="lane")
    wait_for(lambda: system.executions() == ["long"])
    assert system.executions("start") == ["long"]


def test_a_stopping_worker_hands_back_what_it_has_not_begun(system: System) -> None:
    worker = system.start_worker("--pool=solo", "--prefetch-multiplier=10")
    for n in range(10):
        system.app.send_task("work", (n, 0.5), queue="lane")
    wait_for(lambda: len(system.executions("start")) == 1)
    stop(worker)
    done = len(system.executions())
    assert depths(system.client, ["lane"])["lane"].ready[0] == 10 - done > 0
    assert system.client.hlen("unacked") == 0


@pytest.mark.parametrize("prefetch", [1, 3, 50])
def test_priorities_and_turns_are_kombus(system: System, prefetch: int) -> None:
    """The same messages come out in the same order as from the stock transport taking them one by one."""
    chance = random.Random(1)
    sent = [(chance.choice("abc"), chance.randrange(10), n) for n in range(60)]
    orders = []
    for transport, credit in ((STOCK, 1), (OURS, prefetch)):
        with connect(system.server.url, transport=transport) as connection:
            producer = Producer(connection.channel())
            for lane, priority, n in sent:
                producer.publish(n, routing_key=lane, priority=priority, declare=[Queue(lane)])
            connection.default_channel.basic_qos(0, credit, False)
            orders.append(drain(connection, ["a", "b", "c"], len(sent)))
    steps = {n: next(step for step in (9, 6, 3, 0) if priority >= step) for _, priority, n in sent}
    assert [steps[n] for n in orders[1]] == [steps[n] for n in orders[0]]
    assert orders[1] == orders[0]


def test_a_full_lane_is_passed_over(system: System) -> None:
    gate = system.folder / "gate"
    publish_many(system.app, [Outgoing("work_until", (f"slow-{n}", str(gate)), "slow") for n in range(10)])
    publish_many(system.app, [Outgoing("work", (f"fast-{n}",), "fast") for n in range(20)])
    system.start_worker("--pool=threads", "--concurrency=10", lanes="slow,fast", LANE_LIMITS='{"slow": 2}')
    wait_for(lambda: sum(name.startswith("fast") for name in system.executions()) == 20)
    wait_for(lambda: at_once(system, "slow") >= 2)
    assert at_once(system, "slow") == 2
    gate.touch()
    wait_for(lambda: len(system.executions()) == 30)
    assert at_once(system, "slow") == 2


def at_once(system: System, prefix: str) -> int:
    """The most tasks with this prefix that ran at the same time."""
    edges = [
        (system.time_of(event, name), step)
        for event, step in (("start", 1), ("end", -1))
        for name in system.executions(event)
        if name.startswith(prefix)
    ]
    running = most = 0
    for _, step in sorted(edges):
        running += step
        most = max(most, running)
    return most


def test_a_full_lane_takes_the_next_message_without_a_pause(system: System) -> None:
    """The worker waits for other lanes meanwhile; room in the full one wakes it."""
    publish_many(system.app, [Outgoing("work", (n, 0.02), "slow") for n in range(40)])
    system.start_worker("--pool=threads", "--concurrency=10", lanes="slow,fast", LANE_LIMITS='{"slow": 1}')
    wait_for(lambda: len(system.executions()) == 40)
    assert system.time_of("end", "39") - system.time_of("start", "0") < 10  # a wait of a second each would be 40


def test_limits_change_while_the_consumer_runs(system: System) -> None:
    limits = LaneLimits({"lane": 0})
    options = {"lane_limits": limits}
    with connect(system.server.url, transport=OURS, transport_options=options) as connection:
        producer = Producer(connection.channel())
        for n in range(3):
            producer.publish(n, routing_key="lane", declare=[Queue("lane")])
        limits.pause("lane")
        limits.set("lane", 5)
        with pytest.raises(TimeoutError), Consumer(connection.channel(), [Queue("lane")], on_message=print):
            connection.drain_events(timeout=1.5)
        limits.resume("lane")
        assert drain(connection, ["lane"], 3) == [0, 1, 2]


def test_an_idle_consumer_is_woken_by_a_publish(system: System) -> None:
    arrived: list[float] = []

    def on_message(message: Any) -> None:
        arrived.append(time.monotonic())
        message.ack()

    with (
        connect(system.server.url, transport=OURS) as connection,
        Consumer(connection.channel(), [Queue("lane")], on_message=on_message),
    ):
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=0.2)
        Producer(connection.channel()).publish(1, routing_key="lane")
        sent = time.monotonic()
        while not arrived:
            connection.drain_events(timeout=5)
    assert arrived[0] - sent < 0.5  # a look each second would take that half of the time, and more


def test_basic_get_takes_one_and_records_it(system: System) -> None:
    with connect(system.server.url, transport=OURS) as connection:
        channel = connection.channel()
        Producer(channel).publish(5, routing_key="lane", declare=[Queue("lane")])
        message = channel.basic_get("lane")
        assert message is not None
        assert system.client.hlen("unacked") == 1
        message.ack()
        assert system.client.hlen("unacked") == 0
        assert channel.basic_get("lane") is None


def test_stock_kombu_can_restore_what_we_hold(system: System) -> None:
    """The unacked hash and its index are kombu's own layout."""
    with connect(system.server.url, transport=OURS) as ours, connect(system.server.url, transport=STOCK) as stock:
        channel = ours.channel()
        Producer(channel).publish(5, routing_key="lane", declare=[Queue("lane")])
        message = channel.basic_get("lane")
        assert message is not None
        stock.default_channel.qos.restore_by_tag(message.delivery_tag)
        assert drain(stock, ["lane"], 1) == [5]
        assert Counter(system.client.keys("unacked*")) == Counter()


def test_a_global_key_prefix_is_kept(system: System) -> None:
    options = {"global_keyprefix": "site:"}
    with connect(system.server.url, transport=OURS, transport_options=options) as connection:
        Producer(connection.channel()).publish(1, routing_key="lane", declare=[Queue("lane")])
        assert drain(connection, ["lane"], 1) == [1]
        keys = system.client.keys()
        assert [key for key in keys if not key.startswith(b"site:")] == []


def test_now_and_then_the_least_urgent_comes_first(system: System) -> None:
    """However many urgent ones there are, the others are not left out for good."""
    publish_many(system.app, [Outgoing("work", (f"urgent {n}",), "lane", priority=0) for n in range(100)])
    publish_many(system.app, [Outgoing("work", (f"later {n}",), "lane", priority=6) for n in range(3)])
    with connect(system.server.url, transport=OURS) as connection:
        bodies = drain(connection, ["lane"], 80, credit=1)
    taken = [body[0][0] for body in bodies]
    later = [place for place, name in enumerate(taken) if name.startswith("later")]
    assert len(later) == 3
    assert later[0] >= 10
