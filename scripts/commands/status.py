"""`docmill status`: submissions, and what waits in the lanes."""

from __future__ import annotations

import argparse
from typing import Any

from rich.text import Text

from config.catalogue import load_catalogue
from config.settings import Settings, load_settings
from config.stack import NotConfigured, Stack
from scripts.commands.shared import terminal
from scripts.commands.shared.figures import ago
from scripts.commands.shared.ids import find_submission
from scripts.commands.shared.lanes import tell
from scripts.commands.shared.mistakes import one_line
from scripts.commands.shared.options import add_json, positive
from scripts.commands.shared.settings import broker
from scripts.commands.shared.summary import print_summary, read_summary, summary_fields, tally
from tasks.model.job import ENDED, JobState
from workers.ledger import Database, SubmissionLine, open_database, progress, results, submissions, waiting

SHOWN = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("id", nargs="?", metavar="ID", help="only this submission, or the beginning of its id: its sum")
    parser.add_argument(
        "-n", type=positive, default=SHOWN, metavar="NUMBER", help="newest submissions to show (default: %(default)s)"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Show both. A broker that cannot be reached is said, and is no failure: the ledger is the truth."""
    settings = load_settings()
    with open_database(settings.ledger_url) as database:
        if args.id is not None:
            return _show_one(args, database)
        lines = [(line, progress(database, line.id)) for line in submissions(database, limit=args.n)]
        behind = waiting(database, load_catalogue(settings.home).queues)
    lanes, trouble = _lanes(settings, behind)
    if args.json:
        terminal.print_json(
            {
                "home": settings.home,
                "stack": _stack(settings),
                "submissions": [_fields(line, states) for line, states in lines],
                "lanes": lanes,
                "broker_trouble": trouble,
            }
        )
        return 0
    _print_submissions(lines)
    _print_lanes(lanes, trouble)
    return 0


def _show_one(args: argparse.Namespace, database: Database) -> int:
    submission_id = find_submission(database, args.id)
    found, seen = read_summary(database, submission_id), tally(results(database, submission_id))
    if args.json:
        terminal.print_json(summary_fields(found, seen))
    else:
        print_summary(found, seen)
    return 0


def _fields(line: SubmissionLine, states: dict[JobState, int]) -> dict[str, Any]:
    return {
        "submission_id": line.id,
        "created_at": line.created_at,
        "recipe": line.recipe,
        "label": line.label,
        "source": line.source,
        "documents": line.items,
        "states": {state.value: count for state, count in states.items()},
        "estimate": line.estimate,
    }


def _stack(settings: Settings) -> dict[str, Any] | None:
    stack = Stack.read(settings.home)
    return (
        None
        if stack is None
        else {"pid": stack.pid, "flower_url": stack.flower_url, "simulator_url": stack.simulator_url}
    )


def _print_submissions(lines: list[tuple[SubmissionLine, dict[JobState, int]]]) -> None:
    if not lines:
        terminal.out().print("nothing was submitted yet: start with `docmill run PATH`", soft_wrap=True)
        return
    rare = [state for state in (JobState.UNCERTAIN, JobState.CANCELLED) if any(states[state] for _, states in lines)]
    numbers = ["documents", "done", "dead", *rare, "open"]
    shown = terminal.table("submission", "when", *numbers, "recipe", right=numbers, fold=["recipe"])
    for line, states in lines:
        still_open = sum(count for state, count in states.items() if state not in ENDED)
        about = f"{line.recipe}: {line.label}" if line.label else line.recipe
        shown.add_row(
            line.id,
            ago(line.created_at),
            f"{line.items:,}",
            _number(states[JobState.DONE], "green"),
            _number(states[JobState.DEAD], "red"),
            *(_number(states[state], "red") for state in rare),
            _number(still_open, "yellow"),
            terminal.cell(about),
        )
    terminal.out().show(shown)


def _lanes(settings: Settings, behind: dict[str, int]) -> tuple[list[dict[str, Any]] | None, str | None]:
    """The lanes with their depths, and what waits behind them; None and the reason where the broker does not say."""
    import redis

    lanes = load_catalogue(settings.home).lanes
    try:
        client = broker(settings)
        if client is None:
            return None, "depths are read from a single server only"
        # Celery comes with it, which a status without a broker need not pay
        from workers.transport import Pauses, depths

        with client:
            found = depths(client, [lane.queue for lane in lanes.values()])
            paused = Pauses(client).read(list(found))
    except (NotConfigured, redis.RedisError) as error:
        return None, one_line(str(error))
    return [
        {
            "lane": lane.queue,
            "complexity": complexity.value,
            "ready": sum(found[lane.queue].ready.values()),
            "waiting": behind[lane.queue],
            "delayed": found[lane.queue].delayed,
            "held": found[lane.queue].unacked,
            "slots_per_worker": lane.concurrency,
            "paused": paused.get(lane.queue),
        }
        for complexity, lane in lanes.items()
    ], None


def _print_lanes(lanes: list[dict[str, Any]] | None, trouble: str | None) -> None:
    terminal.out().print()
    if lanes is None:
        terminal.out().print(terminal.cell(f"lanes: {trouble}", "dim"), soft_wrap=True)
        return
    numbers = ["ready", "waiting", "delayed", "held", "slots"]
    shown = terminal.table("lane", *numbers, right=numbers)
    for lane in lanes:
        fields = ("ready", "waiting", "delayed", "held", "slots_per_worker")
        shown.add_row(lane["lane"], *(f"{lane[name]:,}" for name in fields))
    terminal.out().show(shown)
    for line, _ in tell({lane["lane"]: lane["paused"] for lane in lanes if lane["paused"]}):
        terminal.out().print(terminal.cell(f"{line}: see `docmill lanes`", "yellow"), soft_wrap=True)


def _number(number: int, style: str) -> Text:
    return Text(f"{number:,}", style=style if number else "dim")
