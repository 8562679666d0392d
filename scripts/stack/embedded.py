"""docmill's own stack on one data folder: what `docmill up` and `docmill run` start, where others find it."""

from __future__ import annotations

import asyncio
import os
import socket

from pydantic import SecretStr

from config.settings import Settings
from config.stack import Stack
from scripts.stack import services
from scripts.stack.claim import Claim
from scripts.stack.environment import environment
from scripts.stack.errors import StackError
from scripts.stack.part import Hear, Report
from scripts.stack.service import Service
from scripts.stack.services import AFTER_DRAIN_S, Parts
from scripts.stack.supervisor import Supervisor
from scripts.stack.valkey import ValkeyServer, free_port

FLOWER_PORT = 5555


class EmbeddedStack:
    """One stack, for one event loop: `start`, then `stop` in any case, also after a `start` that failed."""

    def __init__(self, settings: Settings, parts: Parts, *, report: Report, hear: Hear) -> None:
        self.address = Stack(pid=os.getpid())
        """Where its servers are, once it has started."""
        self._settings = settings
        self._parts = parts
        self._report = report
        self._hear = hear
        self._home = settings.home.absolute()
        self._claim: Claim | None = None
        self._supervisor: Supervisor | None = None
        self._starting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return once every part answers. Raises `StackBusy`, `StackError`."""
        self._starting = asyncio.create_task(self._start())
        await self._starting

    async def wait(self) -> None:
        """Wait until cancelled, while parts that exit are started again."""
        if self._supervisor:
            await self._supervisor.wait()

    def check(self) -> None:
        """Raise `StackError` when a part exits as often as it is started. Safe to call from another thread."""
        if self._supervisor:
            self._supervisor.check()

    async def stop(self) -> None:
        """Stop every part in order, workers with their drain; afterwards nothing is left and the folder is free."""
        if self._starting and not self._starting.done():
            self._starting.cancel()
            await asyncio.wait([self._starting])
        if self._supervisor:
            await self._supervisor.stop()
        if self._claim:
            Stack.forget(self._home)
            self._claim.release()

    def kill(self) -> None:
        """Make `stop` end everything at once. For the loop's own thread."""
        if self._supervisor:
            self._supervisor.kill()

    def pids(self) -> dict[str, int]:
        """Process id of each part that runs."""
        return self._supervisor.pids() if self._supervisor else {}

    async def _start(self) -> None:
        patience_s = self._settings.drain_timeout_s + AFTER_DRAIN_S + 30
        self._claim = await Claim.take(self._home, patience_s=patience_s)
        wanted, self.address = plan(self._settings, self._parts)
        self._supervisor = Supervisor(wanted, self._home / "logs", self._claim, report=self._report, hear=self._hear)
        self.address.write(self._home)  # before they are there: the workers look here for the simulator
        await self._supervisor.start()


def plan(settings: Settings, parts: Parts) -> tuple[list[Service], Stack]:
    """The services these settings ask for, in words for the supervisor, and where they will be. Raises `StackError`."""
    if parts.simulator and (not settings.simulated or settings.simulator_url):
        raise StackError(
            f"{parts.simulator[0]} is for the simulator, but there is a key or an address for Claude:"
            " unset ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL and DOCMILL_SIMULATOR_URL, or leave the option out"
        )
    home = settings.home.absolute()
    server = None if settings.redis_url.get_secret_value() else ValkeyServer(home / "valkey")
    simulator_port = free_port() if settings.simulated and not settings.simulator_url else None
    flower_port = (parts.flower_port or _flower_port()) if parts.flower else None
    redis_url = SecretStr(server.url) if server else settings.redis_url
    told = environment(settings.model_copy(update={"redis_url": redis_url}), os.environ)
    # A broker that is not ours may have the workers of other stacks on this machine.
    suffix = "" if server else f"-{os.getpid()}"

    wanted = [services.valkey(server)] if server else []
    if simulator_port:
        wanted.append(services.simulator(simulator_port, parts.simulator, told))
    for number in range(1, parts.workers + 1):
        name = f"worker-{number}"
        wanted.append(services.worker(name, name + suffix, settings.drain_timeout_s, told))
    if parts.beat:
        wanted.append(services.beat(home / "beat" / "schedule", told))
    if flower_port:
        wanted.append(services.flower(flower_port, told))
    return wanted, Stack(
        pid=os.getpid(),
        redis_url=redis_url if server else None,
        simulator_url=f"http://127.0.0.1:{simulator_port}" if simulator_port else None,
        flower_url=f"http://127.0.0.1:{flower_port}" if flower_port else None,
    )


def _flower_port() -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Flower does
        try:
            probe.bind(("127.0.0.1", FLOWER_PORT))
        except OSError:
            return free_port()
    return FLOWER_PORT
