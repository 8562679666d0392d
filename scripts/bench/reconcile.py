"""Real documents through `docmill run` with faults, and the ledger held against the simulator's own bill.

    python -m scripts.bench.reconcile --count 500 --faults 0.03

Collects documents of several kinds that this machine has (see scripts.bench.corpus), runs them as a person would, and
compares: every document has an outcome, and what the ledger says they cost is what the far side says it charged, to
the nano-dollar. Exit code 1 where it is not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.bench import corpus
from scripts.simulator.process import SimulatorProcess


def run_documents(folder: Path, home: Path, simulator_url: str) -> dict[str, Any]:
    """`docmill run FOLDER --json` on a fresh data folder: its summary."""
    done = docmill("run", str(folder), "--json", home=home, simulator_url=simulator_url)
    summary: dict[str, Any] = json.loads(done)
    return summary


def ledger_nanousd(home: Path) -> tuple[int, int]:
    """What `docmill costs` says: nano-dollars, and calls whose cost is unknown."""
    total = json.loads(docmill("costs", "--by", "model", "--json", home=home))["total"]
    return total["cost_nanousd"], total["unknown_calls"]


def docmill(*words: str, home: Path, simulator_url: str = "") -> str:
    """Run one command; its standard output. Raises `RuntimeError` on anything but success and dead documents."""
    environment = os.environ | {"DOCMILL_HOME": str(home)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if simulator_url:
        environment |= {"ANTHROPIC_API_KEY": "simulated", "ANTHROPIC_BASE_URL": simulator_url}
    done = subprocess.run(
        [sys.executable, "-m", "scripts.cli", *words], env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"docmill {words[0]}: exit code {done.returncode}")
    return done.stdout


def bill_when_idle(simulator: SimulatorProcess) -> dict[str, Any]:
    """The simulator's totals once it answers nobody any more."""
    while True:
        totals: dict[str, Any] = simulator.bill(totals_only=True)["totals"]
        if totals["in_flight"] == 0:
            return totals
        time.sleep(0.1)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, run, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--faults", type=float, default=0.03)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="docmill-reconcile-") as scratch:
        folder, home = Path(scratch, "documents"), Path(scratch, "home")
        corpus.main([str(folder), "--count", str(args.count), "--seed", str(args.seed)])
        with SimulatorProcess(seed=args.seed, faults=args.faults) as simulator:
            summary = run_documents(folder, home, simulator.url)
            bill = bill_when_idle(simulator)
        nanousd, unknown = ledger_nanousd(home)
    outcomes = {state: count for state, count in summary["states"].items() if count}
    unread = len(summary["unreadable"]) + len(summary["skipped"])
    accounted = sum(outcomes.values()) + unread
    print(f"documents   {accounted} of {args.count} accounted for: {outcomes}, {unread} unreadable or skipped")
    print(f"requests    {bill['requests']}, of which {bill['charged']} charged: {bill['by_outcome']}")
    print(f"bill        {bill['nanousd']:,} nano-dollars")
    print(f"ledger      {nanousd:,} nano-dollars, and {unknown} calls of unknown cost")
    equal = accounted == args.count and nanousd == bill["nanousd"] and unknown == 0  # none of these faults is billed
    print("equal" if equal else "NOT EQUAL")
    return 0 if equal else 1


if __name__ == "__main__":
    raise SystemExit(main())
