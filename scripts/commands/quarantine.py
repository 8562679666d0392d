"""`docmill quarantine`: messages that no worker could read or run; told by reason, put back, dropped."""

from __future__ import annotations

import argparse
from itertools import groupby
from typing import TYPE_CHECKING, Any

from config.settings import load_settings
from scripts.commands.shared import terminal
from scripts.commands.shared.asking import asked
from scripts.commands.shared.figures import ago, counted
from scripts.commands.shared.mistakes import Mistake
from scripts.commands.shared.options import add_json
from scripts.commands.shared.settings import broker

if TYPE_CHECKING:
    from workers.transport import Quarantine, Quarantined

WAY_OUT = "`docmill quarantine --each` lists them"


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog = """No job is lost with its message: the ledger has it, and a worker publishes it again.

examples:
  docmill quarantine                      by lane and reason
  docmill quarantine show ID              the message as it came
  docmill quarantine requeue --all        back into their lanes, when what could not read them is mended
  docmill quarantine drop --reason 'unknown task'"""
    parser.add_argument("--each", action="store_true", help="list every one instead of groups")
    add_json(parser)
    verbs = parser.add_subparsers(title="verbs (the list needs none)", metavar="VERB", dest="verb")
    show = verbs.add_parser("show", help="the message as it came: it may hold anything")
    show.add_argument("id", metavar="ID", help="message, or the beginning of its id")
    for name, what in (("requeue", "put them back into their lanes"), ("drop", "delete them for good")):
        verb = verbs.add_parser(name, help=what)
        verb.add_argument("ids", nargs="*", metavar="ID", help="message, or the beginning of its id")
        verb.add_argument("--reason", metavar="TEXT", help="those whose reason has this in it")
        verb.add_argument("--all", action="store_true", dest="everything", help="every one there is")
        verb.add_argument("--dry-run", action="store_true", help="tell what would be done, and do nothing")
        verb.add_argument("--yes", "-y", action="store_true", help="do it without asking")
        verb.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON for a program")


def run(args: argparse.Namespace) -> int:
    """Do what the verb says."""
    from workers.transport import Quarantine

    client = broker(load_settings())
    if client is None:
        raise Mistake("quarantine: DOCMILL_REDIS_URL names several servers: give the address of the primary one")
    with client:
        quarantine = Quarantine(client)
        held = sorted(quarantine.list(quarantine.count()), key=lambda one: (one.lane, one.reason, one.since))
        match args.verb:
            case None:
                _list(held, args)
            case "show":
                print(terminal.printable(_named(args.id, held).message.decode("utf-8", "backslashreplace")))
            case _:
                return _decide(quarantine, _meant(args, held), args)
    return 0


def _list(held: list[Quarantined], args: argparse.Namespace) -> None:
    if args.json:
        terminal.print_json([_fields(one) for one in held])
    elif not held:
        terminal.out().print("the quarantine is empty")
    elif args.each:
        shown = terminal.table("message", "since", "lane", "size", "reason", right=["size"], fold=["reason"])
        for one in held:
            size = f"{len(one.message):,} B"
            shown.add_row(terminal.cell(one.id), ago(one.since), one.lane, size, terminal.cell(one.reason))
        terminal.out().show(shown)
    else:
        shown = terminal.table(
            "lane", "messages", "newest", "oldest", "reason", "one of them", right=["messages"], fold=["reason"]
        )
        for (lane, reason), group in groupby(held, key=lambda one: (one.lane, one.reason)):
            alike = list(group)
            newest, oldest = ago(alike[-1].since), ago(alike[0].since)
            example = terminal.cell(alike[-1].id)
            shown.add_row(lane, f"{len(alike):,}", newest, oldest, terminal.cell(reason), example)
        terminal.out().show(shown)


def _fields(one: Quarantined) -> dict[str, Any]:
    return {"id": one.id, "lane": one.lane, "reason": one.reason, "since": one.since, "size_bytes": len(one.message)}


def _named(said: str, held: list[Quarantined]) -> Quarantined:
    """The one whose id begins so. Raises `Mistake`."""
    found = [one for one in held if one.id.startswith(said)]
    if not found:
        raise Mistake(f"no message {said!r} in quarantine: {WAY_OUT}")
    if len(found) > 1:
        raise Mistake(f"message {said!r} may be {found[0].id} or {found[1].id}: give more of it")
    return found[0]


def _meant(args: argparse.Namespace, held: list[Quarantined]) -> list[Quarantined]:
    """Those that the ids, the reason or `--all` mean. Raises `Mistake`."""
    if sum((bool(args.ids), bool(args.reason), args.everything)) != 1:
        raise Mistake(f"quarantine {args.verb}: name messages by id, or by --reason TEXT, or say --all: {WAY_OUT}")
    if args.ids:
        return [_named(said, held) for said in args.ids]
    return [one for one in held if args.everything or args.reason in one.reason]


def _decide(quarantine: Quarantine, meant: list[Quarantined], args: argparse.Namespace) -> int:
    """Put back or drop what was meant, once a person has agreed."""
    act, done = {"requeue": (quarantine.requeue, "put back"), "drop": (quarantine.drop, "dropped")}[args.verb]
    if args.dry_run or not meant:
        _tell(args, {"messages": len(meant), "dry_run": args.dry_run}, f"{_counted(meant)} would be {done}")
        return 0
    if not args.yes and not asked(f"{args.verb} {_counted(meant)}?"):
        return 1
    count = act(*(one.id for one in meant))
    _tell(args, {"messages": count, "dry_run": False}, f"{counted(count, 'message')} {done}")
    return 0


def _counted(meant: list[Quarantined]) -> str:
    return counted(len(meant), "message")


def _tell(args: argparse.Namespace, fields: dict[str, Any], line: str) -> None:
    if args.json:
        terminal.print_json(fields)
    else:
        terminal.out().print(line)
