"""Rate limits kept and used: three workers against the simulator's hidden buckets.

    python -m scripts.bench.limits                   # all of it, a quarter of an hour
    python -m scripts.bench.limits rpm storm-429

Each scenario has a broker, ledger, simulator and workers of its own. The slow start is switched off (`slow_start = 1`)
and what is measured begins after a warm-up in which the sizes of calls are learned; requests over the limit count from
the first one on, except where a share is told. Exit code 1 where something is not as it must be.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from scripts.bench.limits.scenarios import TRIALS, histogram, told
from scripts.bench.limits.scene import run


def main(argv: Sequence[str] | None = None) -> int:
    """Run the named scenarios, or all; a table, and what went wrong."""
    names = [trial.scenario.name for trial in TRIALS]
    parser = argparse.ArgumentParser(prog="python -m scripts.bench.limits", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    if unknown := set(args.names) - set(names):
        print(f"limits: no scenario {sorted(unknown)}: choose from {', '.join(names)}", file=sys.stderr)
        return 2
    failed = False
    for number, trial in enumerate(trial for trial in TRIALS if not args.names or trial.scenario.name in args.names):
        with tempfile.TemporaryDirectory(prefix="docmill-limits-") as folder:
            done = run(trial.scenario, Path(folder) / "home", seed=args.seed, to_the_end=trial.to_the_end)
        line = told(done)
        if number == 0:
            print("| " + " | ".join(line) + " |", "|" + " --- |" * len(line), sep="\n")
        print("| " + " | ".join(map(str, line.values())) + " |", flush=True)
        problems = trial.judge(done)
        failed = failed or bool(problems)
        for problem in problems:
            print(f"limits: {trial.scenario.name}: {problem}", file=sys.stderr)
        if trial.to_the_end:
            print(f"{trial.scenario.name}, a second each: {histogram(done)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
