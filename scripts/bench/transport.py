"""CPU per message of our transport against kombu's stock one, on the same server in the same run.

    python -m scripts.bench.transport [--messages 3000] [--in-flight 100]

Publishes with kombu's producer, then consumes on kombu's event loop with every message acked one turn later, as a
worker whose tasks take no time would. Ends within a minute. CPU time, not wall time, so a busy machine matters less.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import redis
from celery import Celery
from kombu import Connection, Consumer, Producer, Queue
from kombu.asynchronous import Hub
from kombu.message import Message

from scripts.stack.valkey import ValkeyServer
from workers.transport import Outgoing, install, publish_many

TRANSPORTS = {"stock": "kombu.transport.redis:Transport", "ours": "workers.transport.transport:Transport"}
BODY = {"job": "4b0f6dcf-6c1b-4f2c-9a4e-0a8e9d6c1f11", "generation": 1}
IDLE_S = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=3000, help="per transport and run (default: %(default)s)")
    parser.add_argument("--in-flight", type=int, default=100, help="prefetch credit (default: %(default)s)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        server = ValkeyServer(Path(folder) / "valkey")
        server.start()
        try:
            _compare(server.url, args.messages, args.in_flight)
        finally:
            server.stop()
    return 0


def _compare(url: str, messages: int, in_flight: int) -> None:
    print(f"{messages} messages, {in_flight} in flight; CPU in microseconds per message (server: Redis' own CPU)")
    print(f"{'':8}{'publish':>10}{'server':>10}{'consume':>10}{'server':>10}")
    best: dict[str, list[float]] = {}
    for _ in range(3):
        for name, transport in TRANSPORTS.items():
            row = _measure(url, transport, messages, in_flight)
            best[name] = [min(pair) for pair in zip(row, best.get(name, row), strict=True)]
    for name, row in best.items():
        print(f"{name:8}" + "".join(f"{value:10.1f}" for value in row))
    ratios = [ours / stock for ours, stock in zip(best["ours"], best["stock"], strict=True)]
    print(f"{'ratio':8}" + "".join(f"{ratio:10.2f}" for ratio in ratios))
    print(f"publish_many: {_bulk(url, 20_000):.1f} microseconds of CPU per task message")
    for name, transport in TRANSPORTS.items():
        cpu_ms, wake_ms = _idle(url, transport)
        print(f"idle {name}: {cpu_ms:.1f} ms of CPU per second; a message is there after {wake_ms:.2f} ms (median)")


def _measure(url: str, transport: str, messages: int, in_flight: int) -> list[float]:
    with Connection(url, transport=transport) as connection, redis.Redis.from_url(url) as client:
        lane = Queue("bench")

        def publish() -> None:
            producer = Producer(connection.default_channel)
            for _ in range(messages):
                producer.publish(BODY, routing_key=lane.name, declare=[lane])

        return [
            *_cpu_per(messages, client, publish),
            *_cpu_per(messages, client, lambda: _consume(connection, lane, messages, in_flight)),
        ]


def _consume(connection: Connection, lane: Queue, messages: int, in_flight: int) -> None:
    hub = Hub()
    connection.connect()
    connection.transport.register_with_event_loop(connection.connection, hub)
    channel: Any = connection.default_channel
    acked = 0

    def ack(message: Message) -> None:
        nonlocal acked
        message.ack()
        acked += 1

    channel.basic_qos(0, in_flight, False)
    with Consumer(channel, [lane], on_message=lambda message: hub.call_soon(ack, message), accept=["json"]):
        while acked < messages:
            hub.run_once()
    hub.close()


def _cpu_per(messages: int, client: redis.Redis, work: Callable[[], None]) -> list[float]:
    server_before, before = _server_cpu_s(client), time.process_time()
    work()
    spent = time.process_time() - before
    return [spent / messages * 1e6, (_server_cpu_s(client) - server_before) / messages * 1e6]


def _server_cpu_s(client: redis.Redis) -> float:
    cpu = client.info("cpu")
    return float(cpu["used_cpu_user"] + cpu["used_cpu_sys"])


def _bulk(url: str, messages: int) -> float:
    app = Celery("bench", broker=url, set_as_current=False)
    app.conf.task_ignore_result = True
    install(app)
    before = time.process_time()
    publish_many(app, (Outgoing("bench", (n, 1), "bench") for n in range(messages)))
    spent = time.process_time() - before
    app.close()
    return spent / messages * 1e6


def _idle(url: str, transport: str) -> tuple[float, float]:
    """(CPU ms per idle second, median ms from publish to delivery to an idle consumer)."""
    hub = Hub()
    lane = Queue("bench-idle")
    with Connection(url, transport=transport) as connection, Connection(url, transport=transport) as other:
        connection.connect()
        connection.transport.register_with_event_loop(connection.connection, hub)
        arrived: list[float] = []

        def on_message(message: Message) -> None:
            arrived.append(time.perf_counter())
            message.ack()

        with Consumer(connection.default_channel, [lane], on_message=on_message, accept=["json"]):
            before, until = time.process_time(), time.monotonic() + IDLE_S
            while time.monotonic() < until:
                hub.run_once()
            cpu_s = time.process_time() - before
            producer, delays = Producer(other.default_channel), []
            for _ in range(50):
                pause = time.monotonic() + 0.01
                while time.monotonic() < pause:
                    hub.poller.poll(0.001)
                    hub.run_once() if hub.poller.poll(0) else None
                arrived.clear()
                sent = time.perf_counter()
                producer.publish(BODY, routing_key=lane.name)
                while not arrived:
                    hub.run_once()
                delays.append(arrived[0] - sent)
    hub.close()
    return cpu_s / IDLE_S * 1000, sorted(delays)[len(delays) // 2] * 1000


if __name__ == "__main__":
    raise SystemExit(main())
