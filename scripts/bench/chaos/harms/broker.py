"""The broker dies, forgets, is away, or takes no writes."""

from __future__ import annotations

import time
from collections import defaultdict

from scripts.bench.chaos.scene import Scene
from tasks.model.job import JobState
from workers.transport import Quarantine

AWAY_S = 30.0
REFUSES_S = 10.0
CONSUMES_WITHIN_S = 30.0
FEW_RETRIES = 5
REQUESTS_EACH = 2
"""Of a document whose first request fails."""


def kill_broker(scene: Scene) -> None:
    """Valkey without persistence, three times."""
    for _ in range(3):
        scene.wait(2)
        scene.lose_broker()
    consumes_again(scene)


def flush_broker(scene: Scene) -> None:
    """Everything in the broker is gone: the backlog, and the retries that wait for their time."""
    waiting = 0

    def retries_wait() -> bool:
        nonlocal waiting
        waiting = scene.states().get(JobState.WAITING, 0)
        return waiting > FEW_RETRIES

    scene.until(retries_wait, "retries wait")
    scene.notes.append(f"flushed with {waiting} retries waiting")
    with scene.broker() as client:
        client.flushall()
    scene.kills += 1
    consumes_again(scene)


def broker_away(scene: Scene, *, away_s: float = AWAY_S) -> None:
    """Valkey is away for a while, and all slots are busy when it goes."""
    scene.until(lambda: scene.mill.in_flight() >= scene.slots, "all slots are busy")
    scene.lose_broker(away_s=away_s, keep_data=True)
    consumes_again(scene)


def retries_unpublished(scene: Scene, *, away: bool) -> None:
    """Each first request fails, and most of them when the broker takes no message: it is full, or `away` altogether."""
    scene.until(lambda: scene.requests() > 0, "the first have failed")
    if away:
        scene.lose_broker(away_s=REFUSES_S, keep_data=True)
    else:
        with scene.broker() as client:
            client.config_set("maxmemory", 1)
            scene.wait(REFUSES_S)
            client.config_set("maxmemory", 0)
    scene.notes.append(f"{scene.states().get(JobState.WAITING, 0)} retries waited when it was back")
    scene.until(lambda: scene.unfinished() == 0, "every job has ended", within_s=120)
    with scene.broker() as client:
        if put_aside := Quarantine(client).count():
            scene.broken.append(f"{put_aside} messages of real jobs were put aside")


def wait_beyond_the_visibility_timeout(scene: Scene) -> None:
    """Each job waits in the broker, many for longer than a message may be unacked: one request before, one after."""
    scene.until(lambda: scene.unfinished() == 0, "every job has ended", within_s=120)
    asked: defaultdict[str, list[float]] = defaultdict(list)
    for row in scene.mill.bill():
        asked[row["document"]].append(row["at"])
    if often := sorted(document for document, moments in asked.items() if len(moments) != REQUESTS_EACH):
        scene.broken.append(f"{len(often)} documents were not asked for {REQUESTS_EACH} times: {often[:5]}")
    timeout_s = scene.mill.settings.visibility_timeout_s
    longer = sum(max(moments) - min(moments) > timeout_s for moments in asked.values())
    scene.notes.append(f"{longer} waited for longer than the visibility timeout, {timeout_s:g} s")
    if not longer:
        scene.broken.append("nothing waited so long: the scenario shows nothing")


def consumes_again(scene: Scene, *, within_s: float = CONSUMES_WITHIN_S) -> None:
    """Workers ask Claude again soon, or have nothing left to ask."""
    before, since = scene.requests(), time.monotonic()
    again = scene.until(
        lambda: scene.requests() > before or not scene.unfinished(), "workers consume again", within_s=within_s
    )
    if again:
        scene.notes.append(f"consuming again after {time.monotonic() - since:.1f} s")
