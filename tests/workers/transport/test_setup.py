"""An ordinary broker URL is all it takes."""

from __future__ import annotations

import pytest
from celery import Celery
from kombu import Connection

from tests.workers.transport.conftest import System
from workers.transport import install
from workers.transport.transport import SentinelTransport, Transport


@pytest.mark.parametrize(
    ("url", "transport"),
    [
        ("redis://broker/1", Transport),
        ("redis+socket:///run/redis.sock", Transport),
        ("sentinel://one:26379;sentinel://two:26379", SentinelTransport),
    ],
)
def test_the_url_stays_as_it_was(url: str, transport: type[Transport]) -> None:
    install(Celery("setup", set_as_current=False))
    connection = Connection(url)
    assert type(connection.transport) is transport
    assert connection.as_uri().split(":")[0] == url.split(":")[0]


def test_a_secure_url_stays_as_it_was() -> None:
    install(Celery("setup", set_as_current=False))
    connection = Connection("rediss://broker/1", ssl={"ssl_cert_reqs": "required"})
    assert type(connection.transport) is Transport
    assert connection.as_uri().startswith("rediss://")


def test_failover_keeps_the_transport(system: System) -> None:
    with Connection(f"redis://127.0.0.1:1/0;{system.server.url}") as connection:
        connection.ensure_connection(max_retries=2, interval_start=0, interval_step=0)
        assert type(connection.transport) is Transport


async def test_flowers_broker_page_counts_the_lane(system: System) -> None:
    from flower.utils.broker import Broker

    system.app.send_task("work", (1,), queue="lane", priority=9)
    with system.app.connection_for_read() as connection:
        broker = Broker(connection.as_uri(include_password=True))
    assert await broker.queues(["lane"]) == [{"name": "lane", "messages": 1}]
