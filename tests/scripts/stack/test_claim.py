from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.stack.claim import Claim
from scripts.stack.errors import StackBusy, StackError
from scripts.stack.part import ROOT
from tests.scripts.stack.conftest import Bench, runs, until


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A supervisor in a process of its own: three stand-ins, the last to stop `valkey`. Prints their pids."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.scripts.stack.supervised", tmp_path],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        process.kill()


def pids_of(supervised: subprocess.Popen[str]) -> dict[str, int]:
    assert supervised.stdout is not None
    pids: dict[str, int] = json.loads(supervised.stdout.readline())
    return pids


async def test_a_killed_supervisor_leaves_nothing_and_the_rest_stops_in_order(
    supervised: subprocess.Popen[str], tmp_path: Path
) -> None:
    pids = pids_of(supervised)
    assert all(runs(pid) for pid in pids.values())
    supervised.kill()
    supervised.wait()
    await until(lambda: not any(runs(pid) for pid in pids.values()))
    downs = [line for line in (tmp_path / "diary").read_text().splitlines() if line.endswith("down")]
    assert sorted(downs[:2]) == ["flower down", "stubborn down"]
    assert downs[2:] == ["worker down", "valkey down"]


async def test_a_folder_is_free_again_once_what_a_killed_supervisor_left_has_stopped(
    supervised: subprocess.Popen[str], tmp_path: Path
) -> None:
    pids = pids_of(supervised)
    with pytest.raises(StackBusy, match=f"process {supervised.pid} already runs a stack in {tmp_path}"):
        await Claim.take(tmp_path, patience_s=20)
    supervised.kill()
    supervised.wait()
    claim = await Claim.take(tmp_path, patience_s=20)
    assert not any(runs(pid) for pid in pids.values())
    claim.release()


async def test_a_second_claim_is_refused_until_the_first_is_released(tmp_path: Path) -> None:
    first = await Claim.take(tmp_path, patience_s=1)
    with pytest.raises(StackBusy, match=f"process {os.getpid()} already runs a stack"):
        await Claim.take(tmp_path, patience_s=1)
    first.release()
    (await Claim.take(tmp_path, patience_s=1)).release()


async def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StackError, match=r"data folder .*/file/home: Not a directory; set DOCMILL_HOME"):
        await Claim.take(tmp_path / "file" / "home", patience_s=1)


async def test_a_killed_guard_is_replaced_and_its_heir_knows_what_runs(bench: Bench) -> None:
    supervisor = bench.supervise(bench.standin("worker"))
    await supervisor.start()
    pid = supervisor.pids()["worker"]
    first = bench.claim._guard.pid
    os.kill(first, signal.SIGKILL)
    await until(lambda: bench.claim._guard.pid != first)
    await asyncio.to_thread(bench.claim._end_guard)  # as it would be, were we gone
    assert not runs(pid)
    assert bench.notes() == ["worker up", "worker down"]
