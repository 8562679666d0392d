"""The database goes and comes, is locked; the disk is full."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress

from scripts.bench.chaos.furniture import DISK_MB
from scripts.bench.chaos.harms.broker import consumes_again
from scripts.bench.chaos.scene import Scene

LOCKED_S = 10.0
FULL_S = 10.0


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
    scene.until_under_way()
    with closing(sqlite3.connect(scene.mill.home / "ledger.sqlite3", isolation_level=None, timeout=30)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        scene.wait(LOCKED_S)
        connection.execute("ROLLBACK")


def fill_the_disk(scene: Scene) -> None:
    """No room for answers: no call may be sent that could not be kept, and all goes on once there is room again."""
    scene.until_under_way()
    filler = scene.mill.home / "spool" / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        for _ in range(DISK_MB):
            file.write(bytes(2**20))
    scene.wait(2)
    before = scene.requests()
    scene.wait(FULL_S)
    if sent := scene.requests() - before:
        scene.broken.append(f"{sent} calls were sent while no answer could be kept")
    filler.unlink()
    consumes_again(scene, within_s=60)
