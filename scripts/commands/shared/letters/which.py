"""Which letters a person means."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from config.catalogue import Complexity
from scripts.commands.shared.ids import find_job, find_submission
from scripts.commands.shared.mistakes import Mistake
from scripts.commands.shared.options import condition, positive
from tasks.model.job import JobState
from workers.ledger import Database, LetterFilter, states_of

UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
MOST_NAMED = 5
"""Ids in one line of a mistake."""
LONGEST_S = 36_500 * UNITS_S["d"]
"""Of a span: before all letters, and still a date when it is taken from today."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Which of the two a command is for."""

    state: JobState
    noun: str
    warning: str = ""
    """Told before a replay."""


def add_filter(parser: argparse.ArgumentParser) -> None:
    """Conditions. One that is not given is suppressed, so that a verb's own does not hide one before the verb."""
    group = parser.add_argument_group("which (every condition given must be met)", argument_default=argparse.SUPPRESS)
    group.add_argument("--fault", type=condition, metavar="KIND", help="kind of the last fault: Rejected, TimedOut ...")
    group.add_argument("--status", type=positive, metavar="N", help="HTTP status of the last fault")
    group.add_argument("--message", type=condition, metavar="TEXT", help="part of the last fault's message")
    group.add_argument("--fingerprint", type=condition, metavar="F", help="of a group in the list, or its beginning")
    group.add_argument("--submission", type=condition, metavar="ID", help="of this submission, or latest")
    group.add_argument("--recipe", type=condition, metavar="NAME", help="asked by this recipe")
    group.add_argument("--complexity", type=Complexity, choices=list(Complexity), metavar="{low,medium,high}")
    began = group.add_mutually_exclusive_group()
    began.add_argument("--since", type=_moment, metavar="TIME", help="given up since 2026-11-22, or 2026-11-22T10:30")
    began.add_argument("--newer", type=_duration, metavar="SPAN", help="given up within the last 90s, 15m, 2h or 3d")
    ended = group.add_mutually_exclusive_group()
    ended.add_argument("--until", type=_moment, metavar="TIME", help="given up before")
    ended.add_argument("--older", type=_duration, metavar="SPAN", help="given up longer ago than this")


def read_filter(args: argparse.Namespace, kind: Kind, database: Database) -> LetterFilter:
    """What `add_filter` was told. Raises `Mistake` for an id that is none, or none of a letter."""
    given = vars(args)
    now = database.now()
    since, until = given.get("since"), given.get("until")
    if "newer" in given:
        since = now - given["newer"]
    if "older" in given:
        until = now - given["older"]
    return LetterFilter(
        state=kind.state,
        job_ids=_letters(args, kind, database) if given.get("ids") else (),
        fault=given.get("fault"),
        status=given.get("status"),
        submission_id=find_submission(database, given["submission"]) if "submission" in given else None,
        recipe=given.get("recipe"),
        complexity=given.get("complexity"),
        since=since,
        until=until,
        message=given.get("message"),
        fingerprint=given.get("fingerprint"),
        everything=given.get("everything", False),
    )


def _letters(args: argparse.Namespace, kind: Kind, database: Database) -> tuple[str, ...]:
    """The full ids that were given. One that is no letter, or no more, is a mistake that has to be seen."""
    ids = tuple(find_job(database, said) for said in args.ids)
    others = [f"job {id_} is {state}" for id_, state in states_of(database, ids).items() if state is not kind.state]
    if others:
        more = f", and {len(others) - MOST_NAMED:,} more are none" if len(others) > MOST_NAMED else ""
        raise Mistake(f"{', '.join(others[:MOST_NAMED])}{more}: no {kind.noun}, so nothing to {args.verb}")
    return ids


def _moment(text: str) -> datetime:
    try:
        said = datetime.fromisoformat(text)
        # Without a zone it is the reader's own, as the lists print it. The ledger's is UTC: there it has to be one too.
        return (said if said.tzinfo else said.astimezone()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 2026-11-22 or 2026-11-22T10:30") from None


def _duration(text: str) -> timedelta:
    found = re.fullmatch(r"([0-9]+)([smhd])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no span: write 90s, 15m, 2h or 3d")
    number, unit = found.groups()
    if len(number) > len(str(LONGEST_S)) or int(number) * UNITS_S[unit] > LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is beyond 100 years: leave the option out to mean any time")
    return timedelta(seconds=int(number) * UNITS_S[unit])
