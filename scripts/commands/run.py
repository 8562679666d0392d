"""`docmill run`: documents in, answers and their cost out. Starts what it needs and stops what it started."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from config.settings import Settings, load_settings
from config.stack import Stack
from scripts.commands.shared import terminal
from scripts.commands.shared.answers import print_answers
from scripts.commands.shared.budgets import BudgetNotes
from scripts.commands.shared.figures import span
from scripts.commands.shared.files import check_target, write_lines
from scripts.commands.shared.lanes import PauseNotes
from scripts.commands.shared.mistakes import Mistake
from scripts.commands.shared.options import (
    add_confirming,
    add_documents,
    add_json,
    add_simulator,
    simulator_arguments,
    wish_of,
)
from scripts.commands.shared.progress import Standing, documents, follow
from scripts.commands.shared.records import records
from scripts.commands.shared.settings import check_broker
from scripts.commands.shared.submitting import Submitting, receipt_fields
from scripts.commands.shared.summary import (
    exit_code,
    print_faults,
    print_summary,
    read_summary,
    summary_fields,
    tally,
)
from tasks.model.job import JobState
from workers.ledger import Database, health, progress, results

if TYPE_CHECKING:
    from workers.producer import Receipt

SYNTHETIC = "Every answer is synthetic: no model is asked, and nothing is paid."
ANSWERS_SHOWN = 20
"""More documents than this, and their answers are left to `docmill results`."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_documents(parser)
    add_confirming(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="write the results to FILE, a JSON object a line")
    add_json(parser)
    add_simulator(parser)
    parser.epilog = (
        "Uses the stack that is up, else starts one and stops it at the end.\n"
        "exit codes: 0 all done; 1 some documents dead, cancelled or unreadable; 2 usage or configuration;\n"
        "130 interrupted: what was submitted is kept, and nothing that is done is done again."
    )


def run(args: argparse.Namespace) -> int:
    """Check, start, submit, wait, print."""
    from workers.producer import Producer

    settings = load_settings()
    simulator = simulator_arguments(args, settings)
    wish = wish_of(args)
    if args.output is not None:
        check_target(args.output)
    with Producer.open(settings) as producer, Submitting(args, wish, producer) as submitting:
        if args.dry_run:
            return submitting.tell_estimate()
        if not submitting.is_confirmed():
            return 1
        try:
            with _workers(settings, simulator, producer.database) as check:
                began = time.monotonic()
                notes = (PauseNotes(settings), BudgetNotes(settings, producer.database))
                receipt = _answered(submitting, producer.database, check, notes)
                return _print(args, producer.database, receipt, time.monotonic() - began)
        except BrokenPipeError:
            raise
        except BaseException:  # whatever it was, the documents are safe, and a person should know it
            _tell_kept(submitting, producer.database)
            raise


@contextmanager
def _workers(settings: Settings, simulator: tuple[str, ...], database: Database) -> Iterator[Callable[[], None]]:
    """Somebody to do the work: who is there already, or a stack of our own for as long as this block runs.

    Yields what raises `StackError` when our own has failed.
    """
    running = Stack.read(settings.home)
    if running is not None or _has_workers_elsewhere(settings, database):
        if simulator:
            whose = f"process {running.pid}" if running else "the workers"
            raise Mistake(
                f"{simulator[0]}: {whose} already run, with settings of their own: stop them, or leave it out"
            )
        check_broker(settings)
        _tell_synthetic(running.simulator_url is not None if running else False)
        yield lambda: None
        return

    from scripts.stack.running import in_background
    from scripts.stack.services import Parts

    _tell_synthetic(settings.simulated)
    began = time.monotonic()
    terminal.note("starting a stack ...", "dim")
    with in_background(settings, Parts(simulator=simulator, beat=True), report=terminal.note) as stack:
        terminal.note(f"ready after {span(time.monotonic() - began)}", "dim")
        try:
            yield stack.check
        except (KeyboardInterrupt, SystemExit):
            grace = f"calls in flight have up to {span(settings.drain_timeout_s)} to finish"
            terminal.note(f"stopping: {grace}; Ctrl-C again cuts them off", "yellow")
            raise


def _has_workers_elsewhere(settings: Settings, database: Database) -> bool:
    return bool(settings.redis_url.get_secret_value()) and health(database).workers > 0


def _tell_synthetic(simulated: bool) -> None:
    if simulated:
        terminal.note(f"no ANTHROPIC_API_KEY: the simulator answers. {SYNTHETIC}", "yellow")


def _answered(
    submitting: Submitting, database: Database, check: Callable[[], None], notes: tuple[PauseNotes, BudgetNotes]
) -> Receipt:
    """Submit, and wait until every document has its outcome."""

    def look_around() -> None:
        check()
        for each in notes:
            each.look()

    receipt = submitting.submit()
    terminal.note(f"{documents(receipt.items)} submitted as {receipt.submission_id}", "dim")
    follow(lambda: Standing(progress(database, receipt.submission_id)), look_around)
    return receipt


def _tell_kept(submitting: Submitting, database: Database) -> None:
    """How it stands, and how to go on."""
    if submitting.so_far is None:
        return
    submission_id = submitting.so_far.submission_id
    standing = Standing(progress(database, submission_id))
    submitting.tell_incomplete()
    terminal.note(f"{standing.told()}: all of it is kept, and nothing that is done is done again")
    if standing.states[JobState.UNCERTAIN]:
        terminal.note(f"calls that were cut off may have been paid for: docmill uncertain --submission {submission_id}")
    if standing.finished:
        terminal.note(f"answers: docmill results {submission_id}")
    else:
        terminal.note(f"go on with: docmill up, and in another terminal: docmill watch {submission_id}")


def _print(args: argparse.Namespace, database: Database, receipt: Receipt, wall_s: float) -> int:
    found = read_summary(database, receipt.submission_id)
    if args.output is not None:
        written = write_lines(args.output, terminal.json_lines(records(results(database, receipt.submission_id))))
        terminal.note(f"{documents(written)} written to {args.output}", "dim")
    seen = tally(results(database, receipt.submission_id))
    if args.json:
        head = {**summary_fields(found, seen), **receipt_fields(receipt), "wall_s": round(wall_s, 3)}
        terminal.print_json_with_list(head, "results", records(results(database, receipt.submission_id)))
    else:
        if found.submission.items <= ANSWERS_SHOWN:
            print_answers(results(database, receipt.submission_id))
        else:
            print_faults(seen)
        print_summary(found, seen, wall_s)
    return 1 if receipt.unreadable or not receipt.items else exit_code(found)
