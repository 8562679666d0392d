"""Real documents through `docmill run` with faults, and the ledger held against the simulator's own bill.

    python -m scripts.bench.reconcile --count 500 --faults 0.03

Collects documents of several kinds that this machine has (see scripts.bench.corpus), runs them as a person would, and
compares by `docmill costs reconcile`: every document has an outcome, and what the ledger says they cost is what the far
side says it charged, to the nano-dollar. Exit code 1 where it is not. Killed workers and calls cut off are for
`scripts.bench.money`.
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


def reconciled(home: Path, bill: Path) -> dict[str, Any]:
    """What `docmill costs reconcile` says of the bill."""
    said: dict[str, Any] = json.loads(docmill("costs", "reconcile", str(bill), "--json", home=home))
    return said


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
    """The simulator's bill once it answers nobody any more."""
    while simulator.bill(totals_only=True)["totals"]["in_flight"]:
        time.sleep(0.1)
    return simulator.bill()


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
        exported = Path(scratch, "bill.json")
        exported.write_text(json.dumps(bill))
        said = reconciled(home, exported)
    outcomes = {state: count for state, count in summary["states"].items() if count}
    unread = len(summary["unreadable"]) + len(summary["skipped"])
    accounted = sum(outcomes.values()) + unread
    print(f"documents   {accounted} of {args.count} accounted for: {outcomes}, {unread} unreadable or skipped")
    totals = bill["totals"]
    print(f"requests    {totals['requests']}, of which {totals['charged']} charged: {totals['by_outcome']}")
    print(f"bill        {totals['nanousd']:,} nano-dollars")
    booked = sum(line["booked_nanousd"] for line in said["lines"])
    unknown = sum(line["unknown_calls"] for line in said["lines"])
    print(f"ledger      {booked:,} nano-dollars, and {unknown} calls of unknown cost")
    # None of these faults is billed without an answer.
    equal = accounted == args.count and said["agrees"] and unknown == 0 and booked == totals["nanousd"]
    print("equal" if equal else "NOT EQUAL")
    return 0 if equal else 1


if __name__ == "__main__":
    raise SystemExit(main())
