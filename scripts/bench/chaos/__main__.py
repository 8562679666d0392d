"""Parts of docmill die on purpose; the far side's bill tells whether anything was lost or paid for twice.

    python -m scripts.bench.chaos [SCENARIO...] [--jobs N] [--seeds 1,2,3] [--workers 3]

Each run has fresh folders and free ports, at most 40 kills and a few minutes; which worker dies is drawn from the
seed. Exit code 1 when a promise was broken.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from scripts.bench.chaos.furniture import Missing
from scripts.bench.chaos.scenario import Outcome
from scripts.bench.chaos.scenarios import SCENARIOS
from scripts.bench.chaos.scene import JOBS, play
from tasks.model.job import JobState

COLUMNS = ("jobs", "kills", "done", "dead", "uncertain", "lost", "repeated", "paid twice")
HEAD = f"{'scenario':<20}{'seed':>5}" + "".join(f"{name:>11}" for name in COLUMNS) + f"{'seconds':>9}  verdict"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the scenarios under each seed, and print a line for each run and one for their sums."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"default: all of {', '.join(SCENARIOS)}")
    parser.add_argument("--jobs", type=int, default=JOBS, metavar="N", help="in each scenario (default: %(default)s)")
    parser.add_argument("--seeds", type=_seeds, default=(1,), metavar="S,S", help="a run for each (default: 1)")
    parser.add_argument("--workers", type=int, default=3, metavar="N", help="default: %(default)s")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave ledgers and logs here instead of nowhere")
    args = parser.parse_args(argv)
    if unknown := [name for name in args.scenarios if name not in SCENARIOS]:
        parser.error(f"no scenario {unknown[0]!r}: choose from {', '.join(SCENARIOS)}")
    signal.signal(signal.SIGTERM, _leave)
    print(f"{args.jobs} jobs, {args.workers} workers\n{HEAD}", flush=True)
    broken = False
    for name in args.scenarios or SCENARIOS:
        outcomes = []
        for seed in args.seeds:
            try:
                with _folder(name, args.keep) as folder:
                    outcome = play(SCENARIOS[name], folder, jobs=args.jobs, seed=seed, workers=args.workers)
            except Missing as reason:
                print(f"{name:<20}skipped: {reason}", flush=True)
                break
            outcomes.append(outcome)
            print(told(outcome), flush=True)
        if len(outcomes) > 1:
            print(summed(outcomes), flush=True)
        broken |= any(outcome.broken for outcome in outcomes)
    return 1 if broken else 0


def told(outcome: Outcome) -> str:
    """The table's line, and below it what there is to say."""
    line = _line(outcome.scenario, str(outcome.seed), counts(outcome), outcome.took_s, kept=not outcome.broken)
    return "\n".join([line, *(f"    {note}" for note in outcome.notes), *(f"    ! {line}" for line in outcome.broken)])


def summed(outcomes: Sequence[Outcome]) -> str:
    """The line of a scenario's runs together."""
    total: Counter[str] = Counter()
    for outcome in outcomes:
        total.update(counts(outcome))
    kept = not any(outcome.broken for outcome in outcomes)
    return _line(outcomes[0].scenario, "all", total, sum(outcome.took_s for outcome in outcomes), kept=kept)


def counts(outcome: Outcome) -> dict[str, int]:
    """By column."""
    found, states = outcome.finding, outcome.finding.states
    ends = [states.get(state, 0) for state in (JobState.DONE, JobState.DEAD, JobState.UNCERTAIN)]
    names = [len(found.lost), len(found.repeated), len(found.paid_twice)]
    return dict(zip(COLUMNS, [outcome.jobs, outcome.kills, *ends, *names], strict=True))


def _line(scenario: str, seed: str, numbers: dict[str, int] | Counter[str], took_s: float, *, kept: bool) -> str:
    cells = "".join(f"{numbers[name]:>11}" for name in COLUMNS)
    return f"{scenario:<20}{seed:>5}{cells}{took_s:>9.1f}  {'kept' if kept else 'BROKEN'}"


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: give whole numbers, such as 1,2,3") from None


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
