"""One scenario's docmill: it runs, loses parts when told to, gets them back as from a supervisor, and is judged.

What dies when is in `scenarios`.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from scripts.bench.chaos.witness import Death, Finding, OurCall, OurJob, judge
from scripts.bench.mill import Child, Mill
from scripts.bench.postgres import PostgresServer, postgres_programs
from tasks.model.call import CallState
from tasks.model.job import JobState
from workers.ledger import story
from workers.producer import Receipt

LOOK_S = 0.05
WITHIN_S = 150.0
"""Longest that a scenario may take from its submission to the last job's end."""
LATENCY = "uniform:0.2,0.6"
DISK_MB = 16
TEXT = "The parcel came late, and two of its boxes had been opened on the way."


@dataclass(frozen=True, slots=True)
class Scenario:
    """What runs, and what dies meanwhile."""

    name: str
    harm: Callable[[Scene], None]
    jobs: int = 1000
    markers: str = ""
    """Faults that each document meets at the far side, as the simulator's markers say them."""
    on_crash: str = "hold"
    latency: str = LATENCY
    slots: int = 10
    """Jobs that one worker runs at once: few, so that the run lasts."""
    beats: int = 1
    postgres: bool = False
    """Whether the ledger is in PostgreSQL."""
    small_disk: bool = False
    """Whether the spool has a disk of its own, of `DISK_MB`."""
    clean: bool = False
    """Whether every job must be done: nothing dies here that could have left one uncertain."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a scenario came to."""

    scenario: str
    jobs: int
    kills: int
    finding: Finding
    took_s: float
    """From the submission until the last job had ended, or we gave up."""
    notes: tuple[str, ...]
    broken: tuple[str, ...]


class Scene:
    """A running docmill under harm. Waiting here keeps its workers up, as a supervisor would."""

    def __init__(
        self, mill: Mill, scenario: Scenario, *, workers: int, chance: random.Random, postgres: PostgresServer | None
    ) -> None:
        self.mill = mill
        self.postgres = postgres
        self.chance = chance
        self.kills = 0
        self.deaths: list[Death] = []
        self.notes: list[str] = []
        self.broken: list[str] = []
        """Promises of the scenario's own that were not kept."""
        self._scenario = scenario
        self._wanted = workers
        self._crew: list[Child] = []
        self._expected: set[int] = set()
        self._receipt: Receipt | None = None
        self._began = 0.0
        self.took_s = 0.0

    def begin(self, documents: list[str]) -> None:
        """Start the workers and beats, and submit once all take jobs."""
        for number in range(self._scenario.beats):
            self.mill.start_beat(f"beat-{number + 1}")
        self._crew = [self.mill.spawn_worker() for _ in range(self._wanted)]
        self.mill.until(lambda: len(self.ready()) == self._wanted, "all workers are up", wait_s=60)
        self._receipt = self.mill.submit(documents)
        self._began = time.monotonic()

    def ready(self) -> list[Child]:
        """Workers that take jobs."""
        return [worker for worker in self._crew if worker.ready]

    def unfinished(self) -> int:
        """Jobs that have not ended."""
        assert self._receipt is not None, "begin() first"
        return self.mill.unfinished(self._receipt)

    def states(self) -> dict[JobState, int]:
        """Jobs by state, without the states that have none."""
        assert self._receipt is not None, "begin() first"
        return self.mill.states(self._receipt)

    @property
    def slots_each(self) -> int:
        """Calls that one worker has under way at most."""
        return self._scenario.slots

    @property
    def slots(self) -> int:
        """Calls that all workers together have under way at most."""
        return self._wanted * self.slots_each

    def requests(self) -> int:
        """Requests that the far side has seen."""
        count: int = self.mill.simulator.bill(totals_only=True)["totals"]["requests"]
        return count

    def wait(self, seconds: float) -> None:
        """Let it run."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._supervise()
            time.sleep(min(LOOK_S, left))

    def until(self, condition: Callable[[], bool], what: str, *, within_s: float = 60) -> bool:
        """Let it run until the condition holds; False, and a broken promise, when it does not come to that."""
        deadline = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > deadline:
                self.broken.append(f"not within {within_s:.0f} s: {what}")
                return False
            self.wait(LOOK_S)
        return True

    def kill_one(self, *, stopped_s: float = 0.0) -> None:
        """SIGKILL for a random worker that takes jobs, after a stop in which it reads nothing. None may be up."""
        ready = self.ready()
        if not ready:
            return
        worker = self.chance.choice(ready)
        since = time.time()
        if stopped_s:
            worker.process.send_signal(signal.SIGSTOP)
            self.wait(stopped_s)
        self._expected.add(worker.process.pid)
        worker.process.kill()
        worker.process.wait()
        self.deaths.append(Death(since, time.time()))
        self.kills += 1

    def stop_and_continue(self, seconds: float) -> None:
        """SIGSTOP for a random worker, and SIGCONT after `seconds`."""
        worker = self.chance.choice(self.ready())
        worker.process.send_signal(signal.SIGSTOP)
        try:
            self.wait(seconds)
        finally:
            worker.process.send_signal(signal.SIGCONT)

    def replace(self, worker: Child) -> None:
        """SIGTERM, and a new worker once the old one has ended in order."""
        self._expected.add(worker.process.pid)
        worker.process.terminate()
        grace_s = self.mill.settings.drain_timeout_s + 10
        if self.until(lambda: not worker.lives, f"{worker.name} ends at SIGTERM", within_s=grace_s):
            if worker.process.returncode != 0:
                self.broken.append(f"{worker.name} ended with {worker.process.returncode} at SIGTERM")
            self._supervise()
            self.until(lambda: len(self.ready()) == self._wanted, "the new worker is up")

    def lose_broker(self, *, away_s: float = 0.0, keep_data: bool = False) -> None:
        """SIGKILL for Valkey, and a new one on the same port; without its data unless told otherwise."""
        self.mill.valkey.kill()
        self.kills += 1
        if not keep_data:
            shutil.rmtree(self.mill.valkey.folder / "appendonlydir")
        self.wait(away_s)
        self.mill.valkey.start()

    def flush_broker(self) -> None:
        """FLUSHALL."""
        with redis.Redis.from_url(self.mill.valkey.url) as client:
            client.flushall()
        self.kills += 1

    def finish(self) -> None:
        """Wait until all jobs have ended, as long as the scenario may take."""
        left_s = max(1.0, WITHIN_S - (time.monotonic() - self._began))
        self.until(lambda: self.unfinished() == 0, "every job has ended", within_s=left_s)
        self.took_s = time.monotonic() - self._began

    def judge(self, documents: list[str]) -> Outcome:
        """Stop the workers, and compare the bill with the ledger."""
        self.mill.stop_workers()
        found = judge(
            documents,
            self._jobs(),
            self.mill.bill(),
            self.deaths,
            may_repeat=self._scenario.on_crash == "retry",
        )
        left = {state.value: count for state, count in found.states.items() if state is not JobState.DONE}
        if self._scenario.clean and left:
            self.broken.append(f"not done although nothing died that holds a call: {left}")
        return Outcome(
            self._scenario.name,
            len(documents),
            self.kills,
            found,
            self.took_s,
            tuple(self.notes),
            (*found.broken, *self.broken),
        )

    def _jobs(self) -> Iterator[OurJob]:
        assert self._receipt is not None, "begin() first"
        database = self.mill.producer.database
        for result in self.mill.producer.results(self._receipt.submission_id):
            told = story(database, result.job_id)
            assert told is not None, result.job_id
            calls = [OurCall(CallState(call.state), call.request_id, call.cost_nanousd) for call in told.calls]
            yield OurJob(result.name, result.state, calls)

    def _supervise(self) -> None:
        for place, worker in enumerate(self._crew):
            if worker.lives:
                continue
            if worker.process.pid not in self._expected:
                self.notes.append(f"{worker.name} ended with {worker.process.returncode} by itself")
                self.deaths.append(Death(time.time() - LOOK_S, time.time()))
            self._crew[place] = self.mill.spawn_worker()


class Missing(RuntimeError):
    """What a scenario needs and this machine has not."""


def play(scenario: Scenario, home: Path, *, jobs: int | None = None, seed: int = 1, workers: int = 3) -> Outcome:
    """Run a scenario in `home`, with fresh processes on free ports that are gone when it returns.

    `jobs` bounds its own number. Raises `Missing`.
    """
    count = min(jobs or scenario.jobs, scenario.jobs)
    names = [f"doc-{number}" for number in range(count)]
    texts = [f"{{{{sim:doc:{name}}}}}{scenario.markers} Letter {name}. {TEXT}" for name in names]
    with _furnished(home, scenario) as (mill, postgres):
        scene = Scene(mill, scenario, workers=workers, chance=random.Random(seed), postgres=postgres)
        scene.begin(texts)
        scenario.harm(scene)
        scene.finish()
        return scene.judge(names)


@contextmanager
def _furnished(home: Path, scenario: Scenario) -> Iterator[tuple[Mill, PostgresServer | None]]:
    """The scenario's docmill, and its database server if it has one."""
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
            settings={"on_crash": scenario.on_crash},
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
