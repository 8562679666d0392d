"""What nobody can read or run is put aside, and the worker lives on."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.workers.transport.conftest import System, wait_for
from workers.transport import BrokerRefused, Outgoing, Quarantine, publish_many


def envelope(**changes: Any) -> dict[str, Any]:
    """A message of task `work` as Celery would send it, with parts replaced."""
    body = json.dumps([["poison"], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    return {
        "body": base64.b64encode(body.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": "work", "id": "poison", "lang": "py", "argsrepr": "()", "kwargsrepr": "{}"},
        "properties": {
            "body_encoding": "base64",
            "correlation_id": "poison",
            "delivery_info": {"exchange": "", "routing_key": "lane"},
            "delivery_mode": 2,
            "delivery_tag": "tag",
            "priority": 0,
        },
        **changes,
    }


def encoded(body: bytes) -> str:
    return base64.b64encode(body).decode()


POISON = {
    "garbage": (b"\x80\x04garbage", "not JSON"),
    "no object": (b"[1, 2]", "a JSON list"),
    "no properties": (json.dumps(envelope(properties=None)).encode(), "no properties"),
    "no delivery info": (json.dumps(envelope(properties={"delivery_tag": "x"})).encode(), "no delivery_info"),
    "no headers": (json.dumps(envelope(headers=[])).encode(), "no headers"),
    "no base64": (json.dumps(envelope(body="a")).encode(), "body or properties unreadable"),
    "body that is no JSON": (json.dumps(envelope(body=encoded(b"{not json"))).encode(), "cannot be decoded"),
    "body of the wrong shape": (json.dumps(envelope(body=encoded(b"17"))).encode(), "not a readable task"),
    "no task name": (json.dumps(envelope(headers={"id": "x"})).encode(), "not a task message"),
    "no task id": (json.dumps(envelope(headers={"task": "work"})).encode(), "not a readable task"),
    "unknown task": (json.dumps(envelope(headers={"task": "nope", "id": "x"})).encode(), "unknown task 'nope'"),
    "refused content type": (
        json.dumps(envelope(**{"content-type": "application/x-python-serialize"})).encode(),
        "ContentDisallowed",
    ),
    "unreadable compression": (
        json.dumps(envelope(headers={"task": "work", "id": "x", "compression": "application/x-gzip"})).encode(),
        "cannot be decoded",
    ),
    "unreadable eta": (
        json.dumps(envelope(headers={"task": "work", "id": "x", "eta": "soon"})).encode(),
        "invalid ETA",
    ),
}


def test_poison_goes_to_quarantine_whole_and_the_worker_lives_on(system: System) -> None:
    worker = system.start_worker("--pool=threads", "--concurrency=4")
    for item, _ in POISON.values():
        system.client.lpush("lane", item)
    quarantine = Quarantine(system.client)
    wait_for(lambda: quarantine.count() == len(POISON))
    system.app.send_task("work", ("good",), queue="lane")
    wait_for(lambda: system.executions() == ["good"])

    found = {entry.message: entry for entry in quarantine.list()}
    for item, reason in POISON.values():
        assert reason in found[item].reason
        assert found[item].lane == "lane"
    wait_for(lambda: system.client.hlen("unacked") == 0)
    assert worker.poll() is None
    assert "reconnected" not in system.log()


def test_what_was_put_aside_can_run_again_or_be_dropped(system: System) -> None:
    for number, task in enumerate(("known", "known", "other")):
        system.client.lpush("lane", json.dumps(envelope(headers={"task": task, "id": f"id-{number}"})))
    system.start_worker("--pool=solo")
    quarantine = Quarantine(system.client)
    wait_for(lambda: quarantine.count() == 3)
    one, two, other = sorted(quarantine.list(), key=lambda entry: entry.reason)
    assert quarantine.drop(other.id) == 1
    assert quarantine.requeue(one.id, "nothing") == 1
    wait_for(lambda: quarantine.count() == 2)  # unknown still, so it comes back under a new id
    wait_for(lambda: one.id not in {entry.id for entry in quarantine.list()})
    assert two.id in {entry.id for entry in quarantine.list()}


def test_a_full_redis_refuses_in_one_line_and_the_worker_goes_on(system: System) -> None:
    worker = system.start_worker("--pool=threads", "--concurrency=4", "--without-heartbeat")
    publish_many(system.app, [Outgoing("work", (n, 0.01), "lane") for n in range(50)])
    system.client.config_set("maxmemory", 1)
    for publish in (
        lambda: system.app.send_task("work", ("refused",), queue="lane"),
        lambda: publish_many(system.app, [Outgoing("work", ("refused",), "lane"), Outgoing("work", ("r",), "lane")]),
    ):
        with pytest.raises(BrokerRefused, match="used memory") as caught:
            publish()
        assert "\n" not in str(caught.value)
    wait_for(lambda: len(system.executions()) == 50)
    system.client.config_set("maxmemory", 0)
    system.app.send_task("work", ("after",), queue="lane")
    wait_for(lambda: "after" in system.executions())
    assert worker.poll() is None


def test_a_worker_that_starts_on_a_full_redis_waits_until_it_is_not(system: System) -> None:
    system.app.send_task("work", ("first",), queue="lane")
    system.client.config_set("maxmemory", 1)
    worker = system.start_worker("--pool=threads", "--concurrency=4", ready=False)
    wait_for(lambda: "takes no messages" in system.log())
    system.client.config_set("maxmemory", 0)
    wait_for(lambda: system.executions() == ["first"])
    assert worker.poll() is None


def test_a_read_only_redis_is_waited_for(system: System) -> None:
    worker = system.start_worker("--pool=threads", "--concurrency=4", "--without-heartbeat")
    gate = system.folder / "gate"
    for n in range(4):
        system.app.send_task("work_until", (n, str(gate)), queue="lane")
    wait_for(lambda: len(system.executions("start")) == 4)
    system.client.replicaof("127.0.0.1", "1")
    with pytest.raises(BrokerRefused, match="read only"):
        system.app.send_task("work", ("refused",), queue="lane")
    gate.touch()
    wait_for(lambda: "Redis takes no writes" in system.log() or len(system.executions()) == 4)
    system.client.replicaof("NO", "ONE")
    system.app.send_task("work", ("after",), queue="lane")
    wait_for(lambda: len(system.executions()) == 5)
    wait_for(lambda: system.client.hlen("unacked") == 0)
    assert worker.poll() is None
    assert len(system.executions("start")) == 5
