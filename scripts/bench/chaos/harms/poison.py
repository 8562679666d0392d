"""Messages that no worker can run, thrown into a lane among real jobs."""

from __future__ import annotations

import base64
import json
from typing import Any

import redis

from scripts.bench.chaos.scene import Scene
from tasks.document import TASK_NAME
from workers.transport import Quarantine, depths

LANE = "docmill.low"
OF_EACH = 3
HUGE_CHARACTERS = 16_000_000
HANDLED_WITHIN_S = 60.0


def throw_poison(scene: Scene) -> None:
    """Each must be put aside, or dropped with a reason in the log; no worker may end, and no message may stay."""
    payloads = poison()
    scene.until_under_way()
    with scene.broker() as client:
        for _ in range(OF_EACH):
            for payload in payloads.values():
                client.lpush(LANE, payload)
        scene.until(lambda: scene.unfinished() == 0, "every real job has ended", within_s=120)
        scene.until(
            lambda: not client.llen(LANE) and not client.hlen("unacked"),
            "no message is left",
            within_s=HANDLED_WITHIN_S,
        )
        kept = Quarantine(client).list(limit=1_000)
    aside = {name: [each.reason for each in kept if each.message == payload] for name, payload in payloads.items()}
    log = scene.log()
    for name, reasons in aside.items():
        if len(reasons) == OF_EACH and all(reasons):
            scene.notes.append(f"{name}: put aside, {reasons[0]!r}")
        elif not reasons and name in DROPPED and log.count(DROPPED[name]) >= OF_EACH:
            scene.notes.append(f"{name}: dropped, {DROPPED[name]!r} in the log")
        else:
            scene.broken.append(f"{name}: {len(reasons)} of {OF_EACH} put aside, and no reason in the log")
    if restarted := [note for note in scene.notes if "by itself" in note]:
        scene.broken.append(f"workers died of it: {restarted}")


DROPPED = {"wrong arguments": "document() missing 1 required positional argument"}
"""What is not put aside, with what the log says of it."""


def is_empty(client: redis.Redis) -> bool:
    """Whether nothing waits in the lane, for its time or with a worker."""
    depth = depths(client, [LANE])[LANE]
    return not (sum(depth.ready.values()) or depth.delayed or depth.unacked)


def poison() -> dict[str, bytes]:
    """A payload of each kind."""
    return {
        "undecodable bytes": b"\xff\xfe\x80\x04garbage",
        "not JSON": b'{"body": ',
        "no properties": _message(properties=None),
        "unknown task": _message(headers={"task": "docmill.unheard_of", "id": "poison"}),
        "refused content type": _message(content_type="application/x-python-serialize"),
        "wrong arguments": _message(args=["alone"]),
        "wrong generation type": _message(args=["job-of-nobody", {"generation": "seven"}]),
        "huge": _message(args=["x" * HUGE_CHARACTERS, 0]),
    }


def _message(*, args: list[Any] | None = None, content_type: str = "application/json", **changes: Any) -> bytes:
    """A message of the document task as Celery would send it, with parts replaced."""
    body = json.dumps([args or ["nobody", 0], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    message = {
        "body": base64.b64encode(body.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": content_type,
        "headers": {"task": TASK_NAME, "id": "poison", "lang": "py", "argsrepr": "()", "kwargsrepr": "{}"},
        "properties": {
            "body_encoding": "base64",
            "correlation_id": "poison",
            "delivery_info": {"exchange": "", "routing_key": LANE},
            "delivery_mode": 2,
            "delivery_tag": "poison",
            "priority": 0,
        },
        **changes,
    }
    return json.dumps(message).encode()
