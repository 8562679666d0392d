"""Parts of docmill die on purpose; the far side's bill tells whether anything was lost or paid for twice.

    python -m scripts.bench.chaos [SCENARIO...] [--jobs N] [--seed S] [--workers 3]

Each scenario has fresh folders and free ports, at most 40 kills and a few minutes; which worker dies is drawn from the
seed. Exit code 1 when a promise was broken.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from scripts.bench.chaos.scenarios import SCENARIOS
from scripts.bench.chaos.scene import Missing, Outcome, play
from tasks.model.job import JobState

HEAD = (
    f"{'scenario':<20}{'jobs':>6}{'kills':>6}{'done':>6}{'dead':>6}{'uncertain':>10}"
    f"{'lost':>6}{'repeated':>9}{'paid twice':>11}{'seconds':>8}  verdict"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the scenarios and print a line for each."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"default: all of {', '.join(SCENARIOS)}")
    parser.add_argument("--jobs", type=int, metavar="N", help="at most so many (default: each scenario's own)")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=3, metavar="N", help="default: %(default)s")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave ledgers and logs here instead of nowhere")
    args = parser.parse_args(argv)
    if unknown := [name for name in args.scenarios if name not in SCENARIOS]:
        parser.error(f"no scenario {unknown[0]!r}: choose from {', '.join(SCENARIOS)}")
    signal.signal(signal.SIGTERM, _leave)
    print(f"seed {args.seed}, {args.workers} workers", flush=True)
    print(HEAD, flush=True)
    broken = False
    for name in args.scenarios or SCENARIOS:
        try:
            with _folder(name, args.keep) as folder:
                outcome = play(SCENARIOS[name], folder, jobs=args.jobs, seed=args.seed, workers=args.workers)
        except Missing as reason:
            print(f"{name:<20}skipped: {reason}", flush=True)
            continue
        print(told(outcome), flush=True)
        broken |= bool(outcome.broken)
    return 1 if broken else 0


def told(outcome: Outcome) -> str:
    """The table's line, and below it what there is to say."""
    states, found = outcome.finding.states, outcome.finding
    counts = (
        f"{states.get(JobState.DONE, 0):>6}{states.get(JobState.DEAD, 0):>6}{states.get(JobState.UNCERTAIN, 0):>10}"
    )
    line = (
        f"{outcome.scenario:<20}{outcome.jobs:>6}{outcome.kills:>6}{counts}{len(found.lost):>6}{len(found.repeated):>9}"
        f"{len(found.paid_twice):>11}{outcome.took_s:>8.1f}  {'BROKEN' if outcome.broken else 'kept'}"
    )
    return "\n".join([line, *(f"    {note}" for note in outcome.notes), *(f"    ! {line}" for line in outcome.broken)])


@contextmanager
def _folder(name: str, keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        yield Path(tempfile.mkdtemp(prefix=f"{name}-", dir=keep))
        return
    with tempfile.TemporaryDirectory(prefix=f"docmill-{name}-") as folder:
        yield Path(folder)


def _leave(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)  # so that everything that was started is stopped on the way out


if __name__ == "__main__":
    sys.exit(main())
