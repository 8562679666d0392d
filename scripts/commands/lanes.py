"""`docmill lanes`: the lanes, what waits in them and how long it takes; pauses them, and lets them work again."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from config.catalogue import Catalogue, load_catalogue
from config.settings import load_settings
from scripts.commands.shared import terminal
from scripts.commands.shared.backlog import LaneLine, Limit, read_lanes
from scripts.commands.shared.figures import ago, span
from scripts.commands.shared.lanes import ending, tell
from scripts.commands.shared.mistakes import Mistake, one_line
from scripts.commands.shared.options import add_json
from scripts.commands.shared.settings import broker
from scripts.commands.shared.user import user_name
from workers.ledger import open_database

if TYPE_CHECKING:
    from workers.transport import Pause

ALL = "all"
NUMBERS = ("slots", "in flight", "ready", "waiting", "delayed")


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_json(parser)
    verbs = parser.add_subparsers(metavar="VERB", dest="verb")
    pause = verbs.add_parser("pause", help="take nothing from a lane until it is resumed; what runs there goes on")
    pause.add_argument("name", metavar="NAME", help=f"queue or complexity, or {ALL}")
    pause.add_argument("--reason", default="paused by hand", help="shown to whoever wonders (default: %(default)s)")
    resume = verbs.add_parser("resume", help="let a lane work; after a fault it is tried with one job first")
    resume.add_argument("name", metavar="NAME", help=f"queue or complexity, or {ALL}")


def run(args: argparse.Namespace) -> int:
    """Show, pause or resume. Workers obey within a second."""
    from workers.transport import Pauses

    settings = load_settings()
    catalogue = load_catalogue(settings.home)
    client = broker(settings)
    if client is None:
        raise Mistake("lanes: DOCMILL_REDIS_URL names several servers: give the address of the primary one")
    with client:
        pauses = Pauses(client)
        if args.verb == "pause":
            lanes = lanes_named(args.name, catalogue)
            pauses.pause(lanes, one_line(args.reason), by=user_name())
            print(f"paused: {', '.join(lanes)}; what runs there goes on")
        elif args.verb == "resume":
            resumed = pauses.resume(lanes_named(args.name, catalogue))
            print(f"resumed: {', '.join(resumed)}" if resumed else "nothing to resume: no such lane is paused")
        else:
            with open_database(settings.ledger_url) as database:
                lines = read_lanes(client, database, catalogue, settings.owner_timeout_s, settings.time_zone)
            _show(lines, as_json=args.json)
    return 0


def lanes_named(said: str, catalogue: Catalogue) -> list[str]:
    """The queues a person means by a queue's name, a complexity or `all`. Raises `Mistake`."""
    names = {complexity.value: lane.queue for complexity, lane in catalogue.lanes.items()}
    names |= {queue: queue for queue in catalogue.queues}
    if said == ALL:
        return list(catalogue.queues)
    if said not in names:
        raise Mistake(f"no lane {said!r}: choose one of {', '.join([*names, ALL])}")
    return [names[said]]


def _show(lines: list[LaneLine], *, as_json: bool) -> None:
    if as_json:
        terminal.print_json([_fields(line) for line in lines])
        return
    right = [*NUMBERS, "left"]
    words = ["model", "limit", "state"]
    shown = terminal.table("lane", "model", *right, "limit", "state", right=right, fold=words)
    for column in shown.columns:
        if column.header in words:
            column.min_width = 12  # narrower, rows are easier to read one below the other
    for line in lines:
        numbers = (line.slots, line.in_flight, line.ready, line.waiting, line.delayed)
        shown.add_row(
            line.lane,
            line.model or "any",
            *(f"{number:,}" for number in numbers),
            _left(line),
            _use(line.limit),
            _state(line.pause),
        )
    terminal.out().show(shown)
    for _, advice in tell({line.lane: line.pause for line in lines if line.pause}):
        if advice:
            terminal.note(f"→ {advice}", "yellow")


def _fields(line: LaneLine) -> dict[str, Any]:
    limit = line.limit
    return {
        **{name: getattr(line, name) for name in LaneLine.__slots__},
        "limit": None
        if limit is None
        else {
            "per_minute": limit.limit._asdict(),
            "used_last_minute": limit.used._asdict(),
            "share": limit.share,
        },
    }


def _left(line: LaneLine) -> str:
    """How long until all of it has ended: `2 h 10 min`, empty where nothing is left, `?` where nobody can tell."""
    if not line.left:
        return ""
    return "?" if line.seconds_left is None else span(line.seconds_left)


def _use(limit: Limit | None) -> str:
    """The limit that is used most: `92 % of 4,000 requests/min`; empty while none is known."""
    tightest = limit.tightest if limit else None
    if tightest is None:
        return ""
    kind, used, most = tightest
    what = kind if kind == "requests" else f"{kind} tokens"
    return f"{used / most:.0%} of {most:,.0f} {what}/min".replace("%", " %")


def _state(pause: Pause | None) -> Text:
    if pause is None:
        return terminal.cell("open", "green")
    by = "" if pause.fault else f" by {pause.by}"
    said = f"paused{by} {ago(pause.since)}: {pause.reason}; {ending(pause, datetime.now(UTC))}"
    return terminal.cell(said, "yellow")
