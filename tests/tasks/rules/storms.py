"""A fleet whose workers are killed from outside, in steps of 0.1 s: how many innocent jobs a rule buries.

Three workers of ten slots run 300 jobs of 0.3 to 0.9 s, and each one suspect at a time. One that takes jobs is killed
each second, 40 times; its successor takes a while to start, and judges what was lost then.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tasks.rules.judging import SUSPECT_AFTER

JOBS = 300
SLOTS = 10
KILLS = 40
STEP_S = 0.1
LONGEST_S = 300


@dataclass
class Worker:
    """`running` has when each job ends, those of the suspect lane in `alone`; nothing runs before `up_at`."""

    up_at: float = 0.0
    running: dict[int, float] = field(default_factory=dict)
    alone: dict[int, float] = field(default_factory=dict)
    judges: bool = False


def buried(seed: int, restart_s: float, is_culprit: Callable[[int, int], bool]) -> int:
    """Innocent jobs that the rule buries in this storm."""
    chance = random.Random(seed)
    crew = [Worker() for _ in range(3)]
    crashes = [0] * JOBS
    lane, suspects = list(range(JOBS)), list[int]()
    ended = dead = died = 0
    for step in range(int(LONGEST_S / STEP_S)):
        now = step * STEP_S
        up = [worker for worker in crew if worker.up_at <= now]
        for worker in up:
            if worker.judges:
                died += 1
                for job in [*worker.running, *worker.alone]:
                    crashes[job] += 1
                    if job in worker.alone and is_culprit(crashes[job], died):
                        dead += 1
                    else:
                        (suspects if crashes[job] >= SUSPECT_AFTER else lane).append(job)
                worker.running, worker.alone, worker.judges = {}, {}, False
            for jobs, waiting, slots in ((worker.running, lane, SLOTS), (worker.alone, suspects, 1)):
                for job in [job for job, ends_at in jobs.items() if ends_at <= now]:
                    del jobs[job]
                    ended += 1
                while waiting and len(jobs) < slots:
                    jobs[waiting.pop(0)] = now + chance.uniform(0.3, 0.9)
        if ended + dead == JOBS:
            break
        if step and step % 10 == 0 and step <= KILLS * 10 and up:
            killed = chance.choice(up)
            killed.up_at, killed.judges = now + restart_s, True
    return dead
