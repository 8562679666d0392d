"""One stack for one data folder, and nothing left running when its supervisor is killed.

The claim is a lock on a file in the folder, which the kernel lets go of when its holders are gone. The guard holds it
too: after a kill -9 of the supervisor the folder is free once the guard has stopped the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from scripts.stack import guard
from scripts.stack.errors import StackBusy, StackError

LOOK_AGAIN_S = 0.1


class Claim:
    """The right to run a stack in `home`, held until `release`."""

    def __init__(self, home: Path, lock: int) -> None:
        """Use `take`: `lock` is an open file that holds the lock."""
        self._stack_file = home / "stack.json"
        self._lock = lock
        self._watched: dict[int, str] = {}
        self._guard = self._start_guard()

    @classmethod
    async def take(cls, home: Path, *, patience_s: float) -> Self:
        """Claim `home`, making it if need be.

        Waits up to `patience_s` for what a killed stack left to be stopped. Raises `StackBusy` when a living stack has
        the folder, `StackError` when it cannot be used.
        """
        lock = _open(home)
        try:
            await _wait_for(lock, home, patience_s)
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
            return cls(home, lock)
        except BaseException:
            os.close(lock)
            raise

    def watch(self, pid: int, *, stop_step: int, grace_s: float) -> None:
        """Have the process stopped if we die: lowest step first, SIGKILL for its group after `grace_s`."""
        self._watched[pid] = f"watch {pid} {stop_step} {grace_s}\n"
        self._tell(self._watched[pid])

    def forget(self, pid: int) -> None:
        """The process has ended."""
        if self._watched.pop(pid, None):
            self._tell(f"forget {pid}\n")

    def tend(self) -> None:
        """Replace a guard that was killed."""
        if self._guard.poll() is not None:
            self._end_guard()
            self._guard = self._start_guard()
            self._tell("".join(self._watched.values()))

    def release(self) -> None:
        """Let the folder go. Whatever is still watched is stopped by the guard first."""
        self._end_guard()
        os.close(self._lock)

    def _start_guard(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, self._stack_file],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            bufsize=0,
            pass_fds=[self._lock],
            start_new_session=True,
        )

    def _end_guard(self) -> None:
        assert self._guard.stdin is not None  # noqa: S101 - it was started with a pipe
        self._guard.stdin.close()
        self._guard.wait()

    def _tell(self, lines: str) -> None:
        assert self._guard.stdin is not None  # noqa: S101 - it was started with a pipe
        with contextlib.suppress(BrokenPipeError):  # killed: `tend` tells the next one everything
            self._guard.stdin.write(lines.encode())


def _open(home: Path) -> int:
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(home / "stack.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StackError(f"data folder {home}: {error.strerror}; set DOCMILL_HOME to a folder of yours") from None


async def _wait_for(lock: int, home: Path, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while not _locked(lock):
        holder = _holder(lock)
        if holder and guard.runs(holder):
            raise StackBusy(f"process {holder} already runs a stack in {home}: stop it, or set DOCMILL_HOME")
        if time.monotonic() > deadline:
            raise StackBusy(
                f"what process {holder or '?'}, now gone, left running in {home} does not stop:"
                f" see who holds {home / 'stack.lock'} with lsof or fuser"
            )
        await asyncio.sleep(LOOK_AGAIN_S)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(lock: int) -> int | None:
    """Pid of the supervisor that took the lock; None in the moment before it has said so."""
    told = os.pread(lock, 32, 0).strip()
    return int(told) if told.isdigit() else None
