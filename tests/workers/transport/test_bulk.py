"""`publish_many` sends what `apply_async` sends, only faster."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.workers.transport.conftest import System
from workers.transport import Depth, Outgoing, depths, publish_many


@pytest.fixture
def app(system: System) -> Any:
    system.app.conf.update(task_routes={"add": {"priority": 4}})

    def add(x: int, y: str) -> None: ...

    system.app.task(add, name="add", time_limit=30, ignore_result=False, shared=False)

    return system.app


def taken(system: System, *keys: str) -> list[dict[str, Any]]:
    """The messages under these keys in the order they were sent, taken away."""
    found = []
    for key in keys:
        if system.client.type(key) == b"zset":
            found += [json.loads(entry[1:]) for entry in system.client.zrange(key, 0, -1)]
        else:
            found += [json.loads(item) for item in reversed(system.client.lrange(key, 0, -1))]
        system.client.delete(key)
    return found


def without_tag(messages: list[dict[str, Any]]) -> list[str]:
    """As JSON, in the order of its keys, without what is random."""
    for message in messages:
        assert len(message["properties"].pop("delivery_tag")) == 36
    return [json.dumps(message) for message in messages]


@pytest.mark.parametrize(
    ("priority", "countdown_s", "keys"),
    [
        (None, 0, ("lane\x06\x163",)),
        (0, 0, ("lane",)),
        (9, 0, ("lane\x06\x169",)),
        (None, 60, ("delayed:lane",)),
    ],
)
def test_the_messages_are_those_of_apply_async(
    system: System, app: Any, priority: int | None, countdown_s: float, keys: tuple[str, ...]
) -> None:
    ids = [f"id-{n}" for n in range(3)]
    options = {} if priority is None else {"priority": priority}
    for n, id_ in enumerate(ids):
        app.tasks["add"].apply_async((n, "ü" * n), task_id=id_, queue="lane", countdown=countdown_s or None, **options)
    one_by_one = without_tag(taken(system, *keys))
    assert (
        publish_many(
            app, [Outgoing("add", (n, "ü" * n), "lane", priority, countdown_s, id_) for n, id_ in enumerate(ids)]
        )
        == ids
    )
    assert without_tag(taken(system, *keys)) == one_by_one


def test_a_task_this_process_does_not_have_can_be_sent_too(system: System) -> None:
    for n in range(2):
        system.app.send_task("elsewhere", (n,), task_id=str(n), queue="lane")
    one_by_one = without_tag(taken(system, "lane"))
    publish_many(system.app, [Outgoing("elsewhere", (n,), "lane", task_id=str(n)) for n in range(2)])
    assert without_tag(taken(system, "lane")) == one_by_one


def test_wrong_arguments_are_refused_before_anything_of_their_kind_is_sent(system: System, app: Any) -> None:
    with pytest.raises(TypeError):
        publish_many(app, [Outgoing("add", (1,), "lane")])
    assert system.client.llen("lane") == 0


def test_lanes_priorities_and_delays_go_where_they_belong(system: System, app: Any) -> None:
    publish_many(
        app,
        [
            Outgoing("add", (n, ""), lane, priority, countdown)
            for n in range(10)
            for lane in ("high", "low")
            for priority, countdown in ((0, 0), (9, 0), (3, 60))
        ],
    )
    expected = Depth(ready={0: 10, 3: 0, 6: 0, 9: 10}, delayed=10, unacked=0)
    assert depths(system.client, ["high", "low", "none"]) == {
        "high": expected,
        "low": expected,
        "none": Depth(ready={0: 0, 3: 0, 6: 0, 9: 0}, delayed=0, unacked=0),
    }


@pytest.mark.alone
def test_twenty_thousand_messages_take_less_than_two_seconds_of_cpu(system: System, app: Any) -> None:
    before = time.process_time()
    publish_many(app, [Outgoing("add", (n, "x"), "lane") for n in range(20_000)])
    assert time.process_time() - before < 2
    assert sum(depths(system.client, ["lane"])["lane"].ready.values()) == 20_000
