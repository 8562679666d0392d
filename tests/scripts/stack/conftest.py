"""Supervisors over stand-ins: what the supervisor does is the same whatever the processes are."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from scripts.stack.claim import Claim
from scripts.stack.service import Service, prints
from scripts.stack.supervisor import Supervisor

STANDIN = Path(__file__).with_name("standin.py")


def standin(
    name: str, diary: Path, way: str = "good", *, start: int = 0, stop: int = 0, grace_s: float = 10
) -> Service:
    """A service that runs `standin.py`."""
    return Service(
        name=name,
        command=lambda: (sys.executable, "-I", "-S", str(STANDIN), name, str(diary), way),
        ready=prints("ready"),
        start_step=start,
        stop_step=stop,
        grace_s=grace_s,
    )


def runs(pid: int) -> bool:
    """Whether the process is there, and not only until someone asks for its exit code."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


async def until(happened: Callable[[], object], *, within_s: float = 40) -> None:
    """Wait for it to be true."""
    async with asyncio.timeout(within_s):
        while not happened():  # noqa: ASYNC110 - it happens in another process
            await asyncio.sleep(0.02)


class Bench:
    """A supervisor of stand-ins, and what is to be seen of it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.diary = home / "diary"
        self.reports: list[str] = []
        self.heard: list[tuple[str, str]] = []
        self.supervisor: Supervisor
        self.claim: Claim

    def standin(self, name: str, way: str = "good", *, start: int = 0, stop: int = 0, grace_s: float = 10) -> Service:
        return standin(name, self.diary, way, start=start, stop=stop, grace_s=grace_s)

    def supervise(self, *services: Service) -> Supervisor:
        self.supervisor = Supervisor(
            services,
            self.home / "logs",
            self.claim,
            report=self.reports.append,
            hear=lambda name, line: self.heard.append((name, line)),
        )
        return self.supervisor

    def notes(self) -> list[str]:
        return self.diary.read_text().splitlines() if self.diary.exists() else []


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """Stops what the test left running."""
    bench = Bench(tmp_path)
    bench.claim = await Claim.take(tmp_path, patience_s=1)
    yield bench
    await bench.supervisor.stop()
    bench.claim.release()
