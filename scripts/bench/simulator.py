"""How many requests one core of the simulator answers: `python -m scripts.bench.simulator`.

Requests divided by the CPU time of the simulator's own process, so that a busy machine changes little. The load
comes from a bare protocol that reads no more of an answer than it must.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from scripts.simulator.process import SimulatorProcess

LEAST_PER_CPU_S = 5_000
CONNECTIONS = 64
DOCUMENT = "The quick brown fox jumps over the lazy dog. " * 130  # about 6 kB
FIELDS = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "kind": {"enum": ["invoice", "letter", "report"]},
        "people": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["title", "kind", "people"],
    "additionalProperties": False,
}
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "structured": {"output_config": {"format": {"type": "json_schema", "schema": FIELDS}}},
    "stream": {"stream": True},
}


class Measured(NamedTuple):
    """One run: requests per second of the simulator's CPU time, and per second on the clock."""

    per_cpu_s: float
    per_s: float


class Connection(asyncio.Protocol):
    """Sends the next request when the last one's answer is there."""

    def __init__(self, requests: list[bytes], done: asyncio.Event) -> None:
        self._requests = requests
        self._done = done
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        """Wait for the end of the answer."""
        self._seen += data
        if _complete(self._seen):
            assert self._seen.startswith(b"HTTP/1.1 200"), self._seen[:500]
            self._seen = b""
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        """The last connection to close ends the run."""
        self._done.set()

    def _next(self) -> None:
        if self._requests:
            self._transport.write(self._requests.pop())
        else:
            self._transport.close()


def _complete(answer: bytes) -> bool:
    head, blank, body = answer.partition(b"\r\n\r\n")
    if not blank:
        return False
    if b"chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    return len(body) >= int(length)


def _request(number: int, shape: dict[str, Any]) -> bytes:
    body = {
        "model": "claude-haiku-4-5",
        "max_tokens": 1024,
        "system": "You summarise documents.",
        "messages": [{"role": "user", "content": f"Document {number}. {DOCUMENT}"}],
        **shape,
    }
    raw = json.dumps(body).encode()
    sent_by_sdk = "".join(f"x-stainless-{number}: a value of the SDK\r\n" for number in range(8))
    head = (
        "POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer bench\r\n"
        "anthropic-version: 2026-10-21\r\naccept: application/json\r\ncontent-type: application/json\r\n"
        f"{sent_by_sdk}content-length: {len(raw)}\r\n\r\n"
    )
    return head.encode() + raw


async def _load(url: str, requests: list[bytes]) -> None:
    loop = asyncio.get_running_loop()
    host, _, port = urlsplit(url).netloc.partition(":")
    ends = [asyncio.Event() for _ in range(CONNECTIONS)]
    for end in ends:
        await loop.create_connection(partial(Connection, requests, end), host, int(port))
    await asyncio.gather(*(end.wait() for end in ends))


def measure(simulator: SimulatorProcess, shape: dict[str, Any], count: int) -> Measured:
    """One run of `count` requests, after a short one to warm up."""
    asyncio.run(_load(simulator.url, [_request(number, shape) for number in range(CONNECTIONS)]))
    requests = [_request(number, shape) for number in range(count)]
    cpu_s, started = simulator.cpu_s(), time.monotonic()
    asyncio.run(_load(simulator.url, requests))
    took_s = time.monotonic() - started
    return Measured(count / (simulator.cpu_s() - cpu_s), count / took_s)


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line per shape and run; 1 if the best plain run is too slow."""
    parser = argparse.ArgumentParser(prog="bench simulator", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000, help="per run (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="per shape (default: %(default)s)")
    args = parser.parse_args(argv)
    best_plain = 0.0
    with SimulatorProcess() as simulator:
        for name, shape in SHAPES.items():
            for _ in range(args.runs):
                run = measure(simulator, shape, args.requests)
                print(f"{name:<10} {run.per_cpu_s:>8,.0f} requests per CPU second, {run.per_s:>8,.0f} on the clock")
                best_plain = max(best_plain, run.per_cpu_s if name == "plain" else 0.0)
    print(f"plain: {best_plain:,.0f} per CPU second, wanted {LEAST_PER_CPU_S:,}")
    return 0 if best_plain >= LEAST_PER_CPU_S else 1


if __name__ == "__main__":
    sys.exit(main())
