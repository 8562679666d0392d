"""The docmill that a scenario runs on: fresh processes on free ports in one folder, gone at the end."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from scripts.bench.chaos.scenario import Scenario
from scripts.bench.mill import Mill
from scripts.bench.postgres import PostgresServer, postgres_programs

DISK_MB = 16


class Missing(RuntimeError):
    """What a scenario needs and this machine has not."""


@contextmanager
def furnished(home: Path, scenario: Scenario) -> Iterator[tuple[Mill, PostgresServer | None]]:
    """The scenario's docmill, and its database server if it has one. Raises `Missing`."""
    lanes = "".join(f"[lanes.{lane}]\nconcurrency = {scenario.slots}\n" for lane in ("low", "medium", "high"))
    (home / "catalogue.toml").write_text(lanes)
    with ExitStack() as stack:
        if scenario.small_disk:
            stack.enter_context(_small_disk(home / "spool"))
        postgres = stack.enter_context(_postgres()) if scenario.postgres else None
        mill = Mill(
            home,
            database_url=postgres.url if postgres else "",
            simulator={"latency": scenario.latency},
            settings={"on_crash": scenario.on_crash, **scenario.settings},
        )
        yield stack.enter_context(mill), postgres


def _postgres() -> AbstractContextManager[PostgresServer]:
    programs = postgres_programs()
    if programs is None:
        raise Missing("no PostgreSQL programs (initdb, postgres) on this machine")
    return PostgresServer.temporary(programs)


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() != 0 or mount is None or unmount is None:
        raise Missing("only root can mount a small disk")
    folder.mkdir()
    mounted = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={DISK_MB}m", "docmill-chaos", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        raise Missing("this machine lets nobody mount a small disk")
    try:
        yield
    finally:
        subprocess.run([unmount, folder], check=True)
