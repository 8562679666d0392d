"""The verbs of both commands, and their options."""

from __future__ import annotations

import argparse

from config.catalogue import Complexity
from config.settings import load_settings
from scripts.commands.shared.letters.listing import list_letters, show_letter
from scripts.commands.shared.letters.replaying import discard_letters, replay_letters
from scripts.commands.shared.letters.which import Kind, add_filter
from scripts.commands.shared.options import add_json, assignment, positive


def configure(parser: argparse.ArgumentParser, kind: Kind) -> None:
    """The command's options, and its verbs with theirs. Without a verb the letters are listed."""
    add_filter(parser)
    parser.add_argument("--each", action="store_true", help="list every one instead of groups")
    add_json(parser)
    verbs = parser.add_subparsers(title="verbs (the list needs none)", metavar="VERB", dest="verb")
    show = verbs.add_parser("show", help="why a job is here: each attempt with its fault and its cost")
    show.add_argument("job", metavar="JOB", help="job, or the beginning of its id")
    replay = verbs.add_parser("replay", help=f"run {kind.noun}s again, as they are or changed")
    discard = verbs.add_parser("discard", help="give them up for good; history and cost are kept")
    for verb in (replay, discard):
        verb.add_argument("ids", nargs="*", metavar="JOB", help="job, or the beginning of its id")
        add_filter(verb)
        verb.add_argument("--all", action="store_true", dest="everything", help="every one there is")
        verb.add_argument("--dry-run", action="store_true", help="tell what would be done, and do nothing")
        verb.add_argument("--yes", "-y", action="store_true", help="do it without asking")
    change = replay.add_argument_group("what to change: a new job then takes the old one's place")
    change.add_argument("--model", metavar="NAME", help="ask this model")
    change.add_argument("--max-tokens", type=positive, metavar="N", help="longest answer, in tokens")
    change.add_argument("--to-recipe", metavar="NAME", help="ask by this recipe, as it is written now")
    change.add_argument(
        "--set", action="append", default=[], dest="values", type=assignment, metavar="NAME=VALUE", help="its parameter"
    )
    change.add_argument("--to-complexity", type=Complexity, choices=list(Complexity), metavar="{low,medium,high}")
    replay.add_argument("--per-minute", type=positive, metavar="N", help="so many a minute; the ledger keeps the rest")
    for verb in (show, replay, discard):
        verb.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON for a program")
        verb.add_argument("--home", metavar="FOLDER", default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def run(args: argparse.Namespace, kind: Kind) -> int:
    """Do what the verb says."""
    settings = load_settings()
    match args.verb:
        case None:
            return list_letters(args, kind, settings)
        case "show":
            return show_letter(args, settings)
        case "replay":
            return replay_letters(args, kind, settings)
        case _:
            return discard_letters(args, kind, settings)
