"""`docmill alerts`: what was told, through which channel, and what is still on its way; and a test of the channels."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.text import Text

from config.settings import Settings, load_settings
from scripts.commands.shared import terminal
from scripts.commands.shared.figures import ago, counted, moment, span
from scripts.commands.shared.options import add_json, positive
from tasks.model.alert import Alert, Delivery, Undelivered
from workers import logs
from workers.alerts import Channels, configured
from workers.ledger import AlertLine, Database, DeliveryLine, new_id, open_database, read_alerts
from workers.ledger.outbox import failed, sent, tell

NEWEST = 20


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of one channel's test; no error is a success."""

    channel: str
    sent: bool
    error: str | None


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog = "exit codes: 0 fine; 1 a channel did not take the test"
    parser.add_argument(
        "--limit", type=positive, default=NEWEST, metavar="N", help="alerts shown (default: %(default)s)"
    )
    add_json(parser)
    verbs = parser.add_subparsers(metavar="VERB", dest="verb")
    test = verbs.add_parser("test", help="send one through every channel, and say what came of each")
    # Suppressed where it is not given, so that it does not hide one before the verb.
    test.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """List, or test."""
    settings = load_settings()
    if args.verb == "test":
        logs.configure(settings.log_level)
        return _show_test(asyncio.run(_test(settings)), as_json=args.json)
    with open_database(settings.ledger_url) as database:
        _list(read_alerts(database, args.limit), as_json=args.json)
    return 0


def _list(lines: list[AlertLine], *, as_json: bool) -> None:
    if as_json:
        terminal.print_json(lines)
        return
    if not lines:
        terminal.out().print("no alerts yet")
        return
    shown = terminal.table("when", "alert", "channel", "fate", fold=["alert", "fate"])
    for line in lines:
        when, subject = moment(line.created_at), line.subject
        for delivery in line.deliveries:
            shown.add_row(when, terminal.cell(subject), delivery.channel, _fate(delivery, datetime.now(UTC)))
            when = subject = ""
    terminal.out().show(shown)


def _fate(delivery: DeliveryLine, now: datetime) -> Text:
    """`sent 5 s ago`, `waits`, `tried 3 times: HTTP 500; again in 2 min 00 s`, `given up after 30 tries: HTTP 500`."""
    if delivery.sent_at is not None:
        return terminal.cell(f"sent {ago(delivery.sent_at, now)}", "green")
    if delivery.next_at is None:
        return terminal.cell(f"given up after {counted(delivery.tries, 'try', 'tries')}: {delivery.error}", "red")
    if delivery.error is None:
        return terminal.cell("waits", "yellow")
    again = span(max(0.0, (delivery.next_at - now).total_seconds()))
    return terminal.cell(f"tried {counted(delivery.tries, 'time')}: {delivery.error}; again in {again}", "yellow")


async def _test(settings: Settings) -> list[Tried]:
    channels = Channels(configured(settings))
    with open_database(settings.ledger_url) as database:
        at = database.now()
        alert = Alert(
            key=new_id("test"),
            kind="test",
            subject="a test: this channel works",
            body="Somebody ran `docmill alerts test`. Nothing is wrong.\nNext: docmill alerts",
        )
        (alert_id,) = database.write(lambda connection: tell(connection, [alert], channels.names, at, due_at=None))
        ways = [Delivery(alert_id, name, 1, at, alert) for name in channels.names]
        tried = await asyncio.gather(*(_try(way, channels) for way in ways))
        for way, outcome in zip(ways, tried, strict=True):
            _note(database, way, outcome)
        return list(tried)


async def _try(way: Delivery, channels: Channels) -> Tried:
    try:
        await channels.send(way)
    except Undelivered as error:
        return Tried(way.channel, sent=False, error=str(error))
    return Tried(way.channel, sent=True, error=None)


def _note(database: Database, way: Delivery, outcome: Tried) -> None:
    """A test is not tried again."""
    if outcome.error is None:
        database.write(lambda connection: sent(connection, way, database.now()))
    else:
        error = outcome.error
        database.write(lambda connection: failed(connection, way, error, None))


def _show_test(tried: list[Tried], *, as_json: bool) -> int:
    if as_json:
        terminal.print_json(tried)
    else:
        shown = terminal.table("channel", "result", fold=["result"])
        for one in tried:
            result = terminal.cell("sent", "green") if one.sent else terminal.cell(f"failed: {one.error}", "red")
            shown.add_row(terminal.cell(one.channel), result)
        terminal.out().show(shown)
    return 0 if all(one.sent for one in tried) else 1
