"""`docmill results`: a submission's answers, as JSON lines."""

from __future__ import annotations

import argparse

from config.settings import load_settings
from scripts.commands.shared import terminal
from scripts.commands.shared.files import STDOUT, write_lines
from scripts.commands.shared.ids import find_submission
from scripts.commands.shared.progress import Standing, documents
from scripts.commands.shared.records import records
from workers.ledger import open_database, progress, results


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("id", nargs="?", metavar="ID", help="submission, or the beginning of its id (default: newest)")
    parser.add_argument(
        "-o", "--output", default=STDOUT, metavar="FILE", help="write to FILE, which appears when it is complete"
    )
    parser.epilog = (
        "A line for each document, in the order of the submission: name, job_id, state, output, fault, model,\n"
        "cost_nanousd (integer, 10^-9 US dollars), cost_usd, tokens, attempts, synthetic, metadata ...\n"
        "Documents that are not finished have a line too, with output null."
    )


def run(args: argparse.Namespace) -> int:
    """Write the lines as they are read: memory stays flat."""
    with open_database(load_settings().ledger_url) as database:
        submission_id = find_submission(database, args.id)
        standing = Standing(progress(database, submission_id))
        written = write_lines(args.output, terminal.json_lines(records(results(database, submission_id))))
    if args.output != STDOUT:
        terminal.note(f"{documents(written)} of {submission_id} written to {args.output}")
    if not standing.finished:
        terminal.note(f"not finished: {standing.told()}; `docmill watch {submission_id}` follows it")
    return 0
