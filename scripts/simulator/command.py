"""The command line: `python -m scripts.simulator`, and `docmill simulate`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence

from scripts.simulator.behaviour import Behaviour
from scripts.simulator.faults import KINDS, read_rates
from scripts.simulator.process import READY
from scripts.simulator.server import HOST, Simulator


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. 0: stopped so; 1: the port is taken; 2: a setting is wrong."""
    args = parser().parse_args(argv)
    try:
        behaviour = _behaviour(args)
    except ValueError as error:
        print(f"simulator: {error}", file=sys.stderr)
        return 2
    try:
        _run(Simulator(behaviour, host=args.host, port=args.port))
    except OSError as error:
        print(
            f"simulator: {args.host} port {args.port}: {error.strerror}; give another --port, or 0 for a free one,"
            " and as --host an address of this machine",
            file=sys.stderr,
        )
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """The options, with their units."""
    parser = argparse.ArgumentParser(
        prog="docmill simulate",
        description="A Claude API of its own. Every answer is synthetic; no model is asked and nothing costs money.",
    )
    parser.add_argument(
        "--host",
        default=HOST,
        metavar="ADDRESS",
        help="to listen on; who reaches it may change how it behaves (default: %(default)s, this machine alone)",
    )
    parser.add_argument("--port", type=int, default=8765, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same answers and faults (default: %(default)s)")
    parser.add_argument(
        "--latency", default="0", help="seconds to the first byte: 0, fixed:2, uniform:1,3, lognormal:2,0.5"
    )
    parser.add_argument("--tokens-per-s", type=float, help="speed of an answer after its first byte (default: at once)")
    parser.add_argument("--faults", type=float, default=0.0, help="share of requests that fail, uncharged: 0.03")
    parser.add_argument(
        "--fault", action="append", default=[], metavar="KIND=RATE", help=f"one kind: {', '.join(sorted(KINDS))}"
    )
    parser.add_argument("--rpm", type=float, help="requests per minute and model (default: generous)")
    parser.add_argument("--itpm", type=float, help="input tokens per minute and model")
    parser.add_argument("--otpm", type=float, help="output tokens per minute and model")
    parser.add_argument("--burst-s", type=float, help="seconds' worth of a limit that may come at once (default: 60)")
    return parser


def _behaviour(args: argparse.Namespace) -> Behaviour:
    given = {name: getattr(args, name) for name in ("rpm", "itpm", "otpm", "burst_s")}
    limits = {name: value for name, value in given.items() if value is not None}
    return Behaviour(
        seed=args.seed,
        latency=args.latency,
        tokens_per_s=args.tokens_per_s,
        faults=_rates(args.faults, args.fault),
        limits={"*": limits} if limits else {},
    )


def _rates(rate: float, named: Sequence[str]) -> dict[str, float]:
    rates = read_rates(rate) if rate else {}
    for pair in named:
        kind, _, share = pair.partition("=")
        try:
            rates[kind] = rates.get(kind, 0.0) + float(share)
        except ValueError:
            raise ValueError(f"--fault {pair!r}: give KIND=RATE, such as 529=0.1") from None
    return rates


def _run(simulator: Simulator) -> None:
    try:
        import uvloop
    except ImportError:  # no wheel for this platform
        asyncio.run(_serve(simulator))
    else:
        uvloop.run(_serve(simulator))


async def _serve(simulator: Simulator) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with simulator:
        print(f"{READY}{simulator.url} (every answer is synthetic; no model is asked)", flush=True)
        await stop.wait()
