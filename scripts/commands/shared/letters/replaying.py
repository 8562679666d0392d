"""Replaying and discarding letters: what it would do is told first, and a person is asked."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from config.settings import Settings
from scripts.commands.shared import terminal
from scripts.commands.shared.asking import asked
from scripts.commands.shared.figures import counted, exact_dollars, span
from scripts.commands.shared.letters.which import Kind, read_filter
from scripts.commands.shared.settings import check_broker
from tasks.rules.pricing import dollars
from workers.ledger import group_letters

if TYPE_CHECKING:
    from workers.replaying import Outcome, Preview


def replay_letters(args: argparse.Namespace, kind: Kind, settings: Settings) -> int:
    """Run them again, as they are or changed."""
    from workers.replaying import Change, DeadLetters  # half a second of imports that a list need not pay

    change = Change(
        model=args.model,
        max_tokens=args.max_tokens,
        recipe=args.to_recipe,
        values=dict(args.values),
        complexity=args.to_complexity,
    )
    with DeadLetters.open(settings) as dead:
        wanted = dead.as_of_now(read_filter(args, kind, dead.database))
        preview = dead.preview(wanted, change)
        if args.dry_run:
            _tell_preview(preview, kind, args)
            return 0
        if preview.letters == 0:
            _tell(args, {"replayed": 0}, f"no {kind.noun} matches")
            return 0
        check_broker(settings)
        if not args.yes and not _confirmed(preview, kind, args):
            return 1
        outcome = dead.replay(wanted, change, per_minute=args.per_minute)
    _tell(args, _outcome_fields(outcome), _outcome(outcome, args.per_minute))
    return 0


def discard_letters(args: argparse.Namespace, kind: Kind, settings: Settings) -> int:
    """Give them up for good."""
    from workers.replaying import DeadLetters

    with DeadLetters.open(settings) as dead:
        wanted = dead.as_of_now(read_filter(args, kind, dead.database))
        letters = sum(group.letters for group in group_letters(dead.database, wanted))
        if args.dry_run or letters == 0:
            what = f"{counted(letters, kind.noun)} would be discarded" if letters else f"no {kind.noun} matches"
            _tell(args, {"letters": letters, "dry_run": args.dry_run}, what)
            return 0
        if not args.yes and not asked(f"discard {counted(letters, kind.noun)} for good?"):
            return 1
        discarded = dead.discard(wanted)
    _tell(args, {"discarded": discarded}, f"{counted(discarded, kind.noun)} discarded")
    return 0


def _tell(args: argparse.Namespace, fields: dict[str, Any], line: str) -> None:
    if args.json:
        terminal.print_json(fields)
    else:
        terminal.out().print(line, soft_wrap=True)


def _tell_preview(preview: Preview, kind: Kind, args: argparse.Namespace) -> None:
    if args.json:
        terminal.print_json({"dry_run": True, **_preview_fields(preview)})
        return
    for line in _preview(preview, kind, args.per_minute):
        terminal.out().print(terminal.cell(line), soft_wrap=True)


def _confirmed(preview: Preview, kind: Kind, args: argparse.Namespace) -> bool:
    lines = list(_preview(preview, kind, args.per_minute))
    if sys.stdin.isatty():
        for line in lines:
            terminal.note(line)
    return asked(f"replay {counted(preview.letters, kind.noun)}?")


def _preview(preview: Preview, kind: Kind, per_minute: int | None) -> Iterator[str]:
    anew = preview.letters - preview.same
    parts = [f"{counted(preview.same, 'job')} would run again"] if preview.same else []
    parts += [f"{counted(anew, 'new job')} would take an old one's place"] if anew else []
    yield f"{counted(preview.letters, kind.noun)}: {', '.join(parts) or 'nothing to do'}"
    if preview.letters > preview.unpriced:
        yield f"first attempts cost at most {dollars(preview.estimate_nanousd)}"
    if preview.unpriced:
        yield f"unknown cost, not in that sum: {counted(preview.unpriced, 'job')} of a model without a price"
    for change, count in sorted(preview.changes.items()):
        yield f"  {change} ({count:,})"
    if per_minute and preview.letters:
        yield f"{per_minute:,} a minute: the last one starts after {span((preview.letters - 1) * 60 / per_minute)}"
    if kind.warning and preview.letters:
        yield f"warning: {kind.warning} (calls of unknown cost: at most {dollars(preview.maybe_paid_nanousd)})"


def _preview_fields(preview: Preview) -> dict[str, Any]:
    return {
        "letters": preview.letters,
        "same": preview.same,
        "new": preview.letters - preview.same,
        "estimate_nanousd": preview.estimate_nanousd,
        "estimate_usd": exact_dollars(preview.estimate_nanousd),
        "unpriced": preview.unpriced,
        "maybe_paid_nanousd": preview.maybe_paid_nanousd,
        "changes": dict(sorted(preview.changes.items())),
    }


def _outcome(outcome: Outcome, per_minute: int | None) -> str:
    parts = [f"{counted(outcome.replayed, 'job')} replayed"]
    if outcome.created:
        parts.append(f"{outcome.created:,} of them as new jobs")
    if outcome.linked:
        parts.append(f"{outcome.linked:,} answered by a job that was there")
    if outcome.overtaken:
        parts.append(f"{outcome.overtaken:,} that somebody else had decided about left alone")
    if per_minute:
        parts.append(f"{per_minute:,} a minute")
    return ", ".join(parts)


def _outcome_fields(outcome: Outcome) -> dict[str, Any]:
    return {
        "replayed": outcome.replayed,
        "again": outcome.again,
        "created": outcome.created,
        "linked": outcome.linked,
        "overtaken": outcome.overtaken,
    }
