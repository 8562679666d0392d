"""Workers die, stop and are restarted."""

from __future__ import annotations

import time

from scripts.bench.chaos.scene import Scene
from tasks.model.job import JobState

MOST_KILLS = 40
KILLING_S = 60.0
NOTICED_WITHIN_S = 15.0
KILLER = "doc-0"
"""In scenarios that have a document which kills its worker."""
KILLER_DEATHS = 3
KILLS_AFTER_S = 1.5
"""Within its call, and so late in it that the far side soon finds nobody to answer."""


def kill_workers(scene: Scene, *, most: int = MOST_KILLS) -> None:
    """A random worker each second, as far as any is up."""
    until = time.monotonic() + KILLING_S
    while scene.unfinished() and scene.kills < most and time.monotonic() < until:
        scene.wait(1)
        scene.kill_one()


def kill_a_busy_worker(scene: Scene) -> None:
    """One worker with all its slots busy: each of its jobs must have another state soon."""
    scene.until(lambda: scene.mill.in_flight() == scene.slots, "all slots are busy")
    scene.kill_one()
    since = time.monotonic()
    lost = scene.slots_each
    if scene.until(
        lambda: scene.states().get(JobState.UNCERTAIN, 0) == lost, "all are uncertain", within_s=NOTICED_WITHIN_S
    ):
        scene.notes.append(f"{lost} calls were cut, and uncertain after {time.monotonic() - since:.1f} s")


def kill_who_runs_the_killer(scene: Scene) -> None:
    """Whichever worker has asked for `KILLER` dies, as often as it takes until nobody runs it any more."""
    while scene.until(
        lambda: scene.holder_of(KILLER) is not None or scene.is_over(KILLER), "the killer runs, or is buried"
    ):
        if scene.is_over(KILLER):
            break
        scene.wait(KILLS_AFTER_S)
        if worker := scene.holder_of(KILLER):
            scene.kill(worker)
    if scene.kills != KILLER_DEATHS:
        scene.broken.append(f"the killer was buried after {scene.kills} deaths, not {KILLER_DEATHS}")


def stop_and_kill_workers(scene: Scene, *, times: int = 5) -> None:
    """A random worker stops reading for 1.5 s and is killed then."""
    for _ in range(times):
        scene.wait(1.5)
        scene.kill_one(stopped_s=1.5)


def stop_and_continue_a_worker(scene: Scene, *, stopped_s: float) -> None:
    """A worker is away for long enough to be given up, and comes back with its answers."""
    scene.until_under_way()
    scene.stop_and_continue(stopped_s)
    scene.wait(5)


def restart_amid_calls(scene: Scene) -> None:
    """A rolling restart while each worker has calls that outlast its grace."""
    scene.until(lambda: scene.mill.in_flight() == scene.slots, "all slots are busy")
    for worker in scene.ready():
        scene.replace(worker, cuts_calls=True)


def restart_in_turn(scene: Scene) -> None:
    """A rolling restart: each worker in turn gets SIGTERM, and a new one takes its place."""
    scene.wait(1)
    for worker in scene.ready():
        scene.replace(worker)
