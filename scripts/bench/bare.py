"""The yardstick: the same calls by bare asyncio and the SDK, with no queue, no ledger and no second try.

    python -m scripts.bench.bare URL --jobs 2000 --in-flight 100

Prints the CPU seconds it took, after one call to warm up.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from typing import Any, cast

import anthropic
import httpx2
import uvloop

from scripts.bench.letters import MAX_TOKENS, MODEL, prompt
from tasks.rules.prompting import messages


async def ask_all(url: str, jobs: int, in_flight: int) -> float:
    """Answer so many letters, so many at once; CPU seconds of this process."""
    limits = httpx2.Limits(max_connections=in_flight, keepalive_expiry=5)
    async with anthropic.AsyncAnthropic(
        api_key="bench",
        base_url=url,
        max_retries=0,
        http_client=anthropic.DefaultAioHttpClient(limits=limits),
        open_telemetry=False,
    ) as client:

        async def ask(number: int) -> None:
            said = prompt(number)
            await client.messages.create(
                model=MODEL, max_tokens=MAX_TOKENS, system=said.system, messages=cast("Any", messages(said))
            )

        async def take(numbers: list[int]) -> None:
            while numbers:
                await ask(numbers.pop())

        await ask(-1)
        started = time.process_time()
        numbers = list(range(jobs))
        await asyncio.gather(*(take(numbers) for _ in range(in_flight)))
        return time.process_time() - started


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, call, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--in-flight", type=int, default=100)
    args = parser.parse_args(argv)
    print(uvloop.run(ask_all(args.url, args.jobs, args.in_flight)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
