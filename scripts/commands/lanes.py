"""`docmill lanes`: the lanes with what waits in them; pauses them, and lets them work again, on all workers."""

from __future__ import annotations

import argparse
import getpass
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.text import Text

from config.catalogue import Catalogue, load_catalogue
from config.settings import load_settings
from scripts.commands.shared import terminal
from scripts.commands.shared.figures import ago
from scripts.commands.shared.lanes import ending, tell
from scripts.commands.shared.mistakes import Mistake, one_line
from scripts.commands.shared.options import add_json
from scripts.commands.shared.settings import broker

if TYPE_CHECKING:
    import redis

    from workers.transport import Depth, Pause

ALL = "all"
NUMBERS = ("slots", "ready", "delayed", "held")


@dataclass(frozen=True, slots=True)
class LaneLine:
    """A lane as it stands. Of `slots` each worker process has as many; the other numbers are of the whole broker."""

    lane: str
    model: str | None
    """It is routed to; None takes jobs of any."""
    slots: int
    ready: int
    delayed: int
    held: int
    """By workers: mostly jobs that run."""
    pause: Pause | None


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
            pauses.pause(lanes, one_line(args.reason), by=_user())
            print(f"paused: {', '.join(lanes)}; what runs there goes on")
        elif args.verb == "resume":
            resumed = pauses.resume(lanes_named(args.name, catalogue))
            print(f"resumed: {', '.join(resumed)}" if resumed else "nothing to resume: no such lane is paused")
        else:
            _show(_lines(client, catalogue), as_json=args.json)
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


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user has no name
        return "a person"


def _lines(client: redis.Redis, catalogue: Catalogue) -> list[LaneLine]:
    from workers.transport import Pauses, depths

    routed = {catalogue.lanes[complexity].queue: model for complexity, model in catalogue.routes.items()}
    found, paused = depths(client, list(catalogue.queues)), Pauses(client).read(list(catalogue.queues))
    return [
        _line(lane, routed.get(lane), slots, found[lane], paused.get(lane)) for lane, slots in catalogue.queues.items()
    ]


def _line(lane: str, model: str | None, slots: int, depth: Depth, pause: Pause | None) -> LaneLine:
    return LaneLine(
        lane, model, slots, ready=sum(depth.ready.values()), delayed=depth.delayed, held=depth.unacked, pause=pause
    )


def _show(lines: list[LaneLine], *, as_json: bool) -> None:
    if as_json:
        terminal.print_json(lines)
        return
    shown = terminal.table("lane", "model", *NUMBERS, "state", right=NUMBERS, fold=["state"])
    for line in lines:
        shown.add_row(
            line.lane, line.model or "any", *(f"{getattr(line, name):,}" for name in NUMBERS), _state(line.pause)
        )
    terminal.out().show(shown)
    for _, advice in tell({line.lane: line.pause for line in lines if line.pause}):
        if advice:
            terminal.note(f"→ {advice}", "yellow")


def _state(pause: Pause | None) -> Text:
    if pause is None:
        return terminal.cell("open", "green")
    by = "" if pause.fault else f" by {pause.by}"
    said = f"paused{by} {ago(pause.since)}: {pause.reason}; {ending(pause, datetime.now(UTC))}"
    return terminal.cell(said, "yellow")
