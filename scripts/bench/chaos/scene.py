"""One scenario's docmill: it runs, loses parts when told to, gets them back as from a supervisor, and is judged.

What dies when is in `harms`, what it runs on in `furniture`.
"""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import redis
from sqlalchemy import select

from scripts.bench.chaos.furniture import furnished
from scripts.bench.chaos.scenario import Outcome, Scenario
from scripts.bench.chaos.witness import Death, OurCall, OurJob, judge
from scripts.bench.mill import Child, Mill
from scripts.bench.postgres import PostgresServer
from tasks.model.call import CallState
from tasks.model.job import ENDED, JobState
from workers.ledger import Result, story
from workers.ledger.tables import calls, jobs, workers
from workers.producer import Receipt

LOOK_S = 0.05
WITHIN_S = 240.0
"""Longest that a scenario may take from its submission to the last job's end."""
CUTTING_S = 2.0
"""So long before its end a worker that stops gives up the calls that outlast its grace."""
JOBS = 600
"""In each scenario, unless the caller says otherwise."""
TEXT = "The parcel came late, and two of its boxes had been opened on the way."


class Scene:
    """A running docmill under harm. Waiting here keeps its workers up, as a supervisor would."""

    def __init__(
        self, mill: Mill, scenario: Scenario, *, workers: int, seed: int, postgres: PostgresServer | None
    ) -> None:
        self.mill = mill
        self.postgres = postgres
        self.chance = random.Random(seed)
        self._seed = seed
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
        return self.mill.requests()

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

    def until_under_way(self) -> None:
        """Let it run until each slot has had a call."""
        self.until(lambda: self.requests() > self.slots, "calls are under way")

    def log(self) -> str:
        """What all workers have said."""
        return "".join(child.log.read_text(errors="replace") for child in self.mill.children)

    def holder_of(self, document: str) -> Child | None:
        """The worker that waits for Claude's answer to this document; None where there is none."""
        asked = (
            select(workers.c.pid)
            .join(jobs, jobs.c.owner == workers.c.id)
            .join(calls, (calls.c.job_id == jobs.c.id) & (calls.c.generation == jobs.c.generation))
            .where(
                jobs.c.name == document,
                jobs.c.state == JobState.RUNNING.value,
                calls.c.state == CallState.SENT.value,
            )
        )
        pids = set(self.mill.producer.database.read(lambda connection: connection.execute(asked).scalars().all()))
        return next((worker for worker in self.ready() if worker.process.pid in pids), None)

    def is_over(self, document: str) -> bool:
        """Whether the document's job has ended."""
        return next(job.state in ENDED for job in self._results() if job.name == document)

    def kill_one(self, *, stopped_s: float = 0.0) -> None:
        """SIGKILL for a random worker that takes jobs, after a stop in which it reads nothing. None may be up."""
        ready = self.ready()
        if ready:
            self.kill(self.chance.choice(ready), stopped_s=stopped_s)

    def kill(self, worker: Child, *, stopped_s: float = 0.0) -> None:
        """SIGKILL, after a stop in which it reads nothing."""
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

    def replace(self, worker: Child, *, cuts_calls: bool = False) -> None:
        """SIGTERM, and a new worker once the old one has ended in order; `cuts_calls` that outlast its grace."""
        self._expected.add(worker.process.pid)
        worker.process.terminate()
        grace_s = self.mill.settings.drain_timeout_s + 10
        if self.until(lambda: not worker.lives, f"{worker.name} ends at SIGTERM", within_s=grace_s):
            if cuts_calls:
                self.deaths.append(Death(time.time() - CUTTING_S, time.time()))
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

    def broker(self) -> redis.Redis:
        """A client of the broker's, to be closed."""
        return redis.Redis.from_url(self.mill.valkey.url)

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
        self._check_ends(found.states)
        return Outcome(
            self._scenario.name,
            self._seed,
            len(documents),
            self.kills,
            found,
            self.took_s,
            tuple(self.notes),
            (*found.broken, *self.broken),
        )

    def _check_ends(self, states: Mapping[JobState, int]) -> None:
        dead, may_die = states.get(JobState.DEAD, 0), self._scenario.may_die
        if dead != may_die:
            self.broken.append(f"{dead} dead letters, where there should be {may_die}")
        left = {state.value: n for state, n in states.items() if state not in {JobState.DONE, JobState.DEAD}}
        if self._scenario.clean and left:
            self.broken.append(f"not done although nothing died that holds a call: {left}")

    def _jobs(self) -> Iterator[OurJob]:
        database = self.mill.producer.database
        for result in self._results():
            told = story(database, result.job_id)
            assert told is not None, result.job_id
            calls = [OurCall(CallState(call.state), call.request_id, call.cost_nanousd) for call in told.calls]
            yield OurJob(result.name, result.state, calls)

    def _results(self) -> Iterator[Result]:
        assert self._receipt is not None, "begin() first"
        return self.mill.producer.results(self._receipt.submission_id)

    def _supervise(self) -> None:
        for place, worker in enumerate(self._crew):
            if worker.lives:
                continue
            if worker.process.pid not in self._expected:
                self.notes.append(f"{worker.name} ended with {worker.process.returncode} by itself")
                self.deaths.append(Death(time.time() - LOOK_S, time.time()))
            self._crew[place] = self.mill.spawn_worker()


def play(scenario: Scenario, home: Path, *, jobs: int = JOBS, seed: int = 1, workers: int = 3) -> Outcome:
    """Run a scenario in `home`, with fresh processes on free ports that are gone when it returns. Raises `Missing`."""
    names = [f"doc-{number}" for number in range(jobs)]
    markers = [scenario.special.get(number, scenario.markers) for number in range(jobs)]
    texts = [
        f"{{{{sim:doc:{name}}}}}{marker} Letter {name}. {TEXT}" for name, marker in zip(names, markers, strict=True)
    ]
    with furnished(home, scenario) as (mill, postgres):
        scene = Scene(mill, scenario, workers=workers, seed=seed, postgres=postgres)
        scene.begin(texts)
        scenario.harm(scene)
        scene.finish()
        return scene.judge(names)
