"""Stops, in order, what a supervisor leaves behind when it is killed and cannot do so itself.

A program of its own, `python -I -S guard.py STACK_FILE`, kept to a few modules so that it costs little. Standard input
tells it what runs: `watch PID STEP GRACE_S`, `forget PID`. When the supervisor is gone, it ends the processes of one
step after the other, lowest first, with SIGTERM to each and, after GRACE_S seconds, SIGKILL to its process group. A
supervisor that stopped in order has made it forget them all. It inherits, and so keeps, the data folder's lock.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time

LOOK_S = 1.0
"""How often it looks whether its parent changed: a process forked from the supervisor may keep our input open."""


def watched_until_the_end() -> dict[int, tuple[int, float]]:
    """Follow the input until the supervisor is gone. Returns step and grace of each process that still runs, by pid."""
    supervisor = os.getppid()
    watched: dict[int, tuple[int, float]] = {}
    begun = b""
    while os.getppid() == supervisor:
        if not select.select([0], [], [], LOOK_S)[0]:
            continue
        told = os.read(0, 4096)
        if not told:
            break
        *lines, begun = (begun + told).split(b"\n")
        for line in lines:
            match line.split():
                case [b"watch", pid, step, grace_s]:
                    watched[int(pid)] = int(step), float(grace_s)
                case [b"forget", pid]:
                    watched.pop(int(pid), None)
    return watched


def stop(graces_s: dict[int, float]) -> None:
    """SIGTERM to these processes at once; each gets its own grace, by pid."""
    begin = time.monotonic()
    for pid in graces_s:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    for pid, grace_s in graces_s.items():
        wait_until_gone(pid, begin + grace_s)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)  # also what the process itself left behind
        wait_until_gone(pid, time.monotonic() + 5)


def wait_until_gone(pid: int, deadline: float) -> None:
    """Until the process is gone or `deadline` (on the monotonic clock). It is not our child: we can only ask."""
    while runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)


def runs(pid: int) -> bool:
    """Whether the process is there, and not only its exit code, which nobody may ever ask for in a container."""
    try:
        os.kill(pid, 0)
        if not os.path.isdir("/proc/self"):  # noqa: PTH112 - macOS, where somebody always asks
            return True
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - pathlib doubles this process's size
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
    except PermissionError:  # another user's
        return True


def main(stack_file: str) -> None:
    """Guard until the supervisor is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a service manager signals everyone at once; we are the last to leave
    watched = watched_until_the_end()
    for step in sorted({step for step, _ in watched.values()}):
        stop({pid: grace_s for pid, (of, grace_s) in watched.items() if of == step})
    if watched:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(stack_file)  # noqa: PTH108 - pathlib doubles this process's size


if __name__ == "__main__":
    main(sys.argv[1])
