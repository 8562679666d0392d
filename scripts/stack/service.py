"""What a process of the stack is: how it is started, how it shows that it is ready, when it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Look:
    """What a gate has to go by, besides asking the process itself."""

    started_at: float
    """Unix seconds: when the process was started."""
    lines: Sequence[str]
    """What it printed since the gate was last asked."""


Gate = Callable[[Look], Awaitable[bool]]
"""Whether a process is ready. Asked again and again, until it is."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """One process. Services of the same step are started, or stopped, together; lower steps first."""

    name: str
    command: Callable[[], Sequence[str]]
    """Arguments, made anew at each start. Everyone can read them: no secrets."""
    ready: Gate
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """All of it: nothing is inherited."""
    start_step: int
    stop_step: int
    grace_s: float = 10
    """How long it may take to end after SIGTERM."""


def prints(wanted: str) -> Gate:
    """Ready once it prints this line."""

    async def gate(look: Look) -> bool:
        return wanted in look.lines

    return gate


def writes(file: Path) -> Gate:
    """Ready once it wrote this file, or one beside it with a suffix, as dbm makes them."""

    async def gate(look: Look) -> bool:
        found = file.parent.glob(f"{file.name}*")
        return any(path.stat().st_mtime > look.started_at - 0.1 for path in found)  # a file's clock is a coarse one

    return gate


def answers_http(port: int, path: str) -> Gate:
    """Ready once a GET on loopback is answered, unless with the word that it cannot."""

    async def gate(_: Look) -> bool:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(2):
                return 200 <= await _status(port, path) < 500
        return False

    return gate


async def _status(port: int, path: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        first = await reader.readline()
    finally:
        writer.close()
    found = re.match(rb"HTTP/\S+ (\d+)", first)
    return int(found[1]) if found else 0
