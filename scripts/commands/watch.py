"""`docmill watch`: follow a submission until it is finished."""

from __future__ import annotations

import argparse

from config.settings import load_settings
from scripts.commands.shared import terminal
from scripts.commands.shared.budgets import BudgetNotes
from scripts.commands.shared.ids import find_submission
from scripts.commands.shared.lanes import PauseNotes
from scripts.commands.shared.options import add_json
from scripts.commands.shared.progress import Standing, follow
from scripts.commands.shared.summary import (
    exit_code,
    print_faults,
    print_summary,
    read_summary,
    summary_fields,
    tally,
)
from workers.ledger import Database, health, open_database, progress, results


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("id", nargs="?", metavar="ID", help="submission, or the beginning of its id (default: newest)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Follow, then sum up. 1 when documents are dead or cancelled."""
    settings = load_settings()
    with open_database(settings.ledger_url) as database:
        submission_id = find_submission(database, args.id)
        _tell_if_idle(database, submission_id)
        pauses, budgets = PauseNotes(settings), BudgetNotes(settings, database)

        def look_around() -> None:
            pauses.look()
            budgets.look()

        try:
            follow(lambda: Standing(progress(database, submission_id)), look_around)
        except KeyboardInterrupt:
            standing = Standing(progress(database, submission_id))
            terminal.note(f"{standing.told()}; the work goes on: `docmill watch {submission_id}` looks on again")
            raise
        found = read_summary(database, submission_id)
        seen = tally(results(database, submission_id))
        if args.json:
            terminal.print_json(summary_fields(found, seen))
        else:
            print_faults(seen)
            print_summary(found, seen)
        return exit_code(found)


def _tell_if_idle(database: Database, submission_id: str) -> None:
    if not health(database).workers and not Standing(progress(database, submission_id)).finished:
        terminal.note("no worker is running: start `docmill up` in another terminal", "yellow")
