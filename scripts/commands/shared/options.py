"""Options that several commands share."""

from __future__ import annotations

import argparse
import re
from decimal import Decimal
from typing import TYPE_CHECKING

from config.catalogue import Complexity
from scripts.commands.shared.mistakes import Mistake
from tasks.model.priority import Priority
from tasks.rules.pricing import NANO

if TYPE_CHECKING:
    from config.settings import Settings
    from workers.producer import Wish


def add_json(parser: argparse.ArgumentParser) -> None:
    """For every command that prints a table."""
    parser.add_argument("--json", action="store_true", help="print JSON for a program instead of a table")


def add_documents(parser: argparse.ArgumentParser) -> None:
    """What to submit, and what to ask of it."""
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="file, folder, quoted glob, x.jsonl (a document a line), or - for a document on stdin",
    )
    parser.add_argument(
        "--jsonl",
        action="append",
        default=[],
        metavar="FILE",
        help="read FILE as JSONL whatever it is called; - is stdin. A line is an object with path or text, and id, "
        "recipe, complexity, priority, values, metadata as you like",
    )
    wish = parser.add_argument_group("what to ask")
    wish.add_argument("--recipe", metavar="NAME", help="see `docmill recipes` (default: summarize)")
    wish.add_argument(
        "--question", metavar="TEXT", help="answer TEXT from each document: --recipe answer --set question=TEXT"
    )
    wish.add_argument(
        "--set",
        action="append",
        default=[],
        dest="values",
        type=assignment,
        metavar="NAME=VALUE",
        help="value of a recipe's parameter",
    )
    wish.add_argument(
        "--complexity",
        type=Complexity,
        choices=list(Complexity),
        metavar="{low,medium,high}",
        help="how hard the documents are; high goes to the strong model (default: the recipe's)",
    )
    wish.add_argument(
        "--priority",
        type=Priority,
        choices=list(Priority),
        default=Priority.NORMAL,
        metavar="{high,normal,low}",
        help="high goes first in its lane, low waits for what is left, and has a small share (default: normal)",
    )
    wish.add_argument("--model", metavar="NAME", help="ask this model, whatever the complexity")
    wish.add_argument("--again", action="store_true", help="run, and pay for, documents that were submitted before")
    wish.add_argument("--label", default="", metavar="TEXT", help="a name for the submission in `docmill status`")


def add_confirming(parser: argparse.ArgumentParser) -> None:
    """For commands that may cost much."""
    parser.add_argument("--dry-run", action="store_true", help="as `docmill estimate`: tell the likely cost, and stop")
    parser.add_argument(
        "--yes", "-y", action="store_true", help="do not ask, however much it may cost (see DOCMILL_CONFIRM_ABOVE_USD)"
    )
    parser.add_argument(
        "--budget",
        type=money,
        metavar="DOLLARS",
        help="spend no more than this on the new documents: the rest waits until `docmill budget set` allows more",
    )


def wish_of(args: argparse.Namespace) -> Wish:
    """What `add_documents` was told. Raises `Mistake`."""
    from workers.producer import Wish  # half a second of imports

    if not args.paths and not args.jsonl:
        raise Mistake("no documents: give a PATH to a file or folder, - for stdin, or --jsonl FILE")
    values = dict(args.values)
    recipe = args.recipe
    if args.question is not None:
        if "question" in values:
            raise Mistake("--question and --set question=... say the same thing: give one of them")
        values["question"] = args.question
        recipe = recipe or "answer"
    return Wish(
        recipe=recipe or "summarize",
        complexity=args.complexity,
        model=args.model,
        values=values,
        again=args.again,
        label=args.label,
        priority=args.priority,
    )


def assignment(text: str) -> tuple[str, str]:
    """`NAME=VALUE`."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=VALUE")
    return name, value


def add_simulator(parser: argparse.ArgumentParser) -> None:
    """How the simulator behaves, where it stands in for Claude."""
    simulator = parser.add_argument_group("the simulator, which answers where there is no ANTHROPIC_API_KEY")
    simulator.add_argument("--faults", type=_rate, metavar="RATE", help="share of requests that fail: 0.03")
    simulator.add_argument(
        "--latency", metavar="SPEC", help="seconds to the first byte: 0, fixed:2, uniform:1,3, lognormal:2,0.5"
    )
    simulator.add_argument("--seed", type=int, metavar="N", help="same seed, same answers and faults")


def simulator_arguments(args: argparse.Namespace, settings: Settings) -> tuple[str, ...]:
    """The simulator's own arguments. Raises `Mistake` where a real API would get the documents."""
    given = {name: getattr(args, name) for name in ("faults", "latency", "seed") if getattr(args, name) is not None}
    if given and not settings.simulated:
        real = "ANTHROPIC_API_KEY" if settings.anthropic_api_key.get_secret_value() else "ANTHROPIC_BASE_URL"
        raise Mistake(f"--{next(iter(given))} is for the simulator, and {real} is set: unset it, or leave it out")
    return tuple(word for name, value in given.items() for word in (f"--{name}", str(value)))


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def condition(text: str) -> str:
    """Text that something has to match. An empty one is part of every text, and was not meant so."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is empty: leave the option out")
    return text


def money(text: str) -> int:
    """Dollars, such as 50 or 0.25, in nano-dollars: exactly."""
    if not re.fullmatch(r"\$?[0-9]{1,9}(\.[0-9]{1,9})?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no amount in dollars: write 50 or 0.25")
    return int(Decimal(text.removeprefix("$")) * NANO)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = -1
    if not 0 <= rate <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share between 0 and 1")
    return rate
