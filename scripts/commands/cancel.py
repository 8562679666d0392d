"""`docmill cancel`: stop jobs or whole submissions, in the ledger first and then in flight."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import redis

from config.settings import load_settings
from config.stack import NotConfigured
from scripts.commands.shared import terminal
from scripts.commands.shared.figures import counted
from scripts.commands.shared.ids import find_any
from scripts.commands.shared.mistakes import one_line
from scripts.commands.shared.options import add_json
from scripts.commands.shared.settings import check_broker
from workers.ledger import Cancelled, Database, cancel_jobs, cancel_submission, open_database

REVOKED_AT_ONCE = 1_000
"""Message ids of one broadcast."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("ids", nargs="+", metavar="ID", help="job or submission, or the beginning of its id, or latest")
    parser.epilog = (
        "What is done stays done. A call in flight is cut off; it may have been billed. A document that another "
        "submission waits for too goes on, until that one or its job is cancelled."
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Cancel. A worker that hears nothing of it loses the job all the same: the ledger decides."""
    settings = load_settings()
    with open_database(settings.ledger_url) as database:
        wanted = [find_any(database, said) for said in args.ids]
        cancelled = sum((_cancel(database, one) for one in wanted), start=Cancelled())
    trouble = None
    try:
        check_broker(settings)
        _revoke(cancelled.message_ids)
    except (NotConfigured, redis.RedisError) as error:
        trouble = one_line(str(error))
    if args.json:
        fields = {"cancelled": cancelled.job_ids, "left": cancelled.left, "broker_trouble": trouble}
        terminal.print_json(fields)
        return 0
    terminal.out().print(_told(cancelled), soft_wrap=True)
    if trouble and cancelled.job_ids:
        terminal.note(f"running calls were not told, and end unrecorded as done: {trouble}", "yellow")
    return 0


def _told(cancelled: Cancelled) -> str:
    said = f"{counted(len(cancelled.job_ids), 'job')} cancelled"
    if cancelled.left:
        return f"{said}, {len(cancelled.left):,} left: other submissions wait for the same documents"
    return said if cancelled.job_ids else f"{said}: what was named has ended"


def _cancel(database: Database, id_: str) -> Cancelled:
    return cancel_submission(database, id_) if id_.startswith("sub-") else cancel_jobs(database, [id_])


def _revoke(message_ids: Sequence[str]) -> None:
    from workers.app import app  # Celery: half a second of imports that an idle cancel need not pay

    for start in range(0, len(message_ids), REVOKED_AT_ONCE):
        app.control.revoke(list(message_ids[start : start + REVOKED_AT_ONCE]), terminate=True)
