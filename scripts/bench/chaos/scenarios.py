"""What dies when. Each scenario is bounded by what it does and by `scene.WITHIN_S`; chance is seeded."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, suppress
from functools import partial

from scripts.bench.chaos.scene import DISK_MB, Scenario, Scene
from tasks.model.job import JobState

MOST_KILLS = 40
KILLING_S = 60.0
ONE_RETRY = "{{sim:500x1}}"
AWAY_S = 30.0
CONSUMES_WITHIN_S = 30.0
NOTICED_WITHIN_S = 15.0
LOCKED_S = 10.0
FULL_S = 10.0


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


def stop_and_kill_workers(scene: Scene, *, times: int = 5) -> None:
    """A random worker stops reading for 1.5 s and is killed then."""
    for _ in range(times):
        scene.wait(1.5)
        scene.kill_one(stopped_s=1.5)


def stop_and_continue_a_worker(scene: Scene, *, stopped_s: float) -> None:
    """A worker is away for long enough to be given up, and comes back with its answers."""
    scene.until(lambda: scene.requests() > 30, "calls are under way")
    scene.stop_and_continue(stopped_s)
    scene.wait(5)


def kill_broker(scene: Scene) -> None:
    """Valkey without persistence, three times."""
    for _ in range(3):
        scene.wait(2)
        scene.lose_broker()
    _consumes_again(scene)


def flush_broker(scene: Scene) -> None:
    """Everything in the broker is gone: the backlog, and the retries that wait for their time."""
    scene.until(lambda: scene.states().get(JobState.WAITING, 0) > 10, "retries wait")
    scene.notes.append(f"flushed with {scene.states()[JobState.WAITING]} retries waiting")
    scene.flush_broker()
    _consumes_again(scene)


def broker_away(scene: Scene) -> None:
    """Valkey is away for a while, and all slots are busy when it goes."""
    scene.until(lambda: scene.mill.in_flight() >= scene.slots, "all slots are busy")
    scene.lose_broker(away_s=AWAY_S, keep_data=True)
    _consumes_again(scene)


def restart_postgres(scene: Scene) -> None:
    """The database crashes and comes back, twice."""
    assert scene.postgres is not None, "the scenario says postgres=True"
    for away_s in (0.0, 5.0):
        scene.wait(3)
        scene.postgres.kill()
        scene.kills += 1
        scene.wait(away_s)
        scene.postgres.start()


def lock_sqlite(scene: Scene) -> None:
    """Another process holds the ledger's write lock."""
    scene.wait(3)
    with closing(sqlite3.connect(scene.mill.home / "ledger.sqlite3", isolation_level=None, timeout=30)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        scene.wait(LOCKED_S)
        connection.execute("ROLLBACK")


def fill_the_disk(scene: Scene) -> None:
    """No room for answers: no call may be sent that could not be kept, and all goes on once there is room again."""
    scene.wait(3)
    filler = scene.mill.home / "spool" / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        for _ in range(DISK_MB):
            file.write(bytes(2**20))
    scene.wait(2)
    before = scene.requests()
    scene.wait(FULL_S)
    scene.notes.append(f"{scene.requests() - before} calls were sent from 2 s after that on")
    filler.unlink()
    _consumes_again(scene, within_s=60)


def restart_in_turn(scene: Scene) -> None:
    """A rolling restart: each worker in turn gets SIGTERM, and a new one takes its place."""
    scene.wait(1)
    for worker in scene.ready():
        scene.replace(worker)


def _consumes_again(scene: Scene, *, within_s: float = CONSUMES_WITHIN_S) -> None:
    before, since = scene.requests(), time.monotonic()
    again = scene.until(
        lambda: scene.requests() > before or not scene.unfinished(), "workers consume again", within_s=within_s
    )
    if again:
        scene.notes.append(f"consuming again after {time.monotonic() - since:.1f} s")


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("kill-hold", kill_workers),
        Scenario("kill-hold-retried", kill_workers, markers=ONE_RETRY),
        Scenario("kill-retry", kill_workers, on_crash="retry"),
        Scenario("kill-retry-retried", kill_workers, on_crash="retry", markers=ONE_RETRY),
        Scenario("kill-two-beats", kill_workers, beats=2),
        Scenario("kill-noticed", kill_a_busy_worker, jobs=30, latency="fixed:20"),
        Scenario("stop-kill-hold", stop_and_kill_workers, jobs=600),
        Scenario("stop-kill-retry", stop_and_kill_workers, jobs=600, on_crash="retry"),
        Scenario("stop-continue", partial(stop_and_continue_a_worker, stopped_s=75), jobs=600),
        Scenario("broker-killed", kill_broker, jobs=600, clean=True),
        Scenario("broker-flushed", flush_broker, jobs=600, markers=ONE_RETRY, clean=True),
        Scenario("broker-away", broker_away, jobs=600, latency="uniform:2,4", clean=True),
        Scenario("postgres-restarted", restart_postgres, jobs=600, postgres=True, clean=True),
        Scenario("sqlite-locked", lock_sqlite, jobs=600, clean=True),
        Scenario("disk-full", fill_the_disk, jobs=600, small_disk=True, clean=True),
        Scenario("rolling-restart", restart_in_turn, jobs=1000, clean=True),
    )
}
"""By name, in the order they are run."""
