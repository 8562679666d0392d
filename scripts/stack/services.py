"""The services of docmill's own stack: what each is started with, when it counts as ready, when it is stopped.

First Valkey, then everything that talks to it. To stop: Flower, beat, the workers, which may take their time to finish
their calls, and only then what they call and Valkey.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.stack.service import Service, answers_http, prints, writes
from scripts.stack.valkey import ValkeyServer

WORKER_READY = "docmill worker ready"
AFTER_DRAIN_S = 15
"""Beyond the drain: what a worker may take to hand back its jobs and close its clients."""

CELERY = (sys.executable, "-m", "celery", "-A", "workers.app")


@dataclass(frozen=True)
class Parts:
    """What a stack has besides Valkey and the simulator, which it starts where the settings name no others."""

    workers: int = 1
    beat: bool = False
    flower: bool = False
    flower_port: int | None = None
    """None takes 5555, or any free port where that is taken."""
    simulator: tuple[str, ...] = ()
    """Options as `docmill simulate` has them: `("--faults", "0.03")`."""

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise ValueError(f"workers: {self.workers} is below 0")


def valkey(server: ValkeyServer) -> Service:
    """The broker. Its password is in a file that it reads."""
    return Service(
        name="valkey",
        command=server.command,
        ready=server.gate,
        environment={name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
        start_step=0,
        stop_step=4,
    )


def simulator(port: int, options: tuple[str, ...], environment: Mapping[str, str]) -> Service:
    """The stand-in for Claude."""
    return Service(
        name="simulator",
        command=lambda: (sys.executable, "-m", "scripts.simulator", "--port", str(port), *options),
        ready=answers_http(port, "/_sim/health"),
        environment=environment,
        start_step=1,  # is up sooner than the workers, which take longer to come up and need it for their first call
        stop_step=3,
    )


def worker(name: str, node: str, drain_timeout_s: float, environment: Mapping[str, str]) -> Service:
    """One Celery worker process, `node` its name for Celery."""
    return Service(
        name=name,
        command=lambda: (
            *CELERY,
            "worker",
            f"--hostname={node}@%h",
            "--include=scripts.stack.announce",
            "--without-gossip",
            "--without-mingle",  # asks the neighbours for a second what they revoked; a cancelled job is in the ledger
        ),
        ready=prints(WORKER_READY),
        environment=environment,
        start_step=1,
        stop_step=2,
        grace_s=drain_timeout_s + AFTER_DRAIN_S,
    )


def beat(schedule: Path, environment: Mapping[str, str]) -> Service:
    """Sends what is due. A process of its own: inside each worker it would send everything once per worker.

    `schedule` is the file where it keeps what it sent last; its folder is made.
    """
    schedule.parent.mkdir(parents=True, exist_ok=True)
    return Service(
        name="beat",
        command=lambda: (*CELERY, "beat", f"--schedule={schedule}"),
        ready=writes(schedule),
        environment=environment,
        start_step=1,
        stop_step=1,
    )


def flower(port: int, environment: Mapping[str, str]) -> Service:
    """The monitor. Bounded, because it keeps every task it hears of in memory."""
    return Service(
        name="flower",
        command=lambda: (
            *CELERY,
            "flower",
            "--address=127.0.0.1",
            f"--port={port}",
            "--max_tasks=10000",
            "--purge_offline_workers=300",
        ),
        ready=answers_http(port, "/healthcheck"),
        environment=environment,
        start_step=1,
        stop_step=0,
    )
