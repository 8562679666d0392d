"""Which letters there are, and why one is here."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from config.settings import Settings
from scripts.commands.shared import terminal
from scripts.commands.shared.figures import ago, exact_dollars, moment
from scripts.commands.shared.ids import find_job
from scripts.commands.shared.letters.which import Kind, read_filter
from scripts.commands.shared.mistakes import Mistake
from tasks.rules.fingerprint import fingerprint
from tasks.rules.pricing import dollars
from workers.ledger import (
    CallLine,
    Cause,
    Database,
    LetterFilter,
    LetterGroup,
    causes,
    group_letters,
    open_database,
    read_letters,
    story,
)


def list_letters(args: argparse.Namespace, kind: Kind, settings: Settings) -> int:
    """By fingerprint and lane, or each."""
    with open_database(settings.ledger_url) as database:
        wanted = read_filter(args, kind, database)
        groups = group_letters(database, wanted)
        total = sum(group.letters for group in groups)
        if args.json:
            head = {"letters": total, "groups": groups}
            if args.each:
                terminal.print_json_with_list(head, "each", _each(database, wanted))
            else:
                terminal.print_json(head)
        elif not groups:
            terminal.out().print(f"no {kind.noun} {'matches' if wanted != LetterFilter(kind.state) else 'here'}")
        elif args.each:
            _print_each(database, wanted)
        else:
            _print_groups(groups)
    return 0


def _each(database: Database, wanted: LetterFilter) -> Iterator[dict[str, Any]]:
    for chunk in read_letters(database, wanted):
        for letter in chunk:
            yield {
                "job_id": letter.id,
                "name": letter.name,
                "submission_id": letter.submission_id,
                "recipe": letter.recipe.name,
                "complexity": letter.complexity.value,
                "lane": letter.lane,
                "model": letter.model,
                "ended_at": letter.ended_at,
                "fingerprint": letter.fingerprint,
                "fault": letter.fault,
            }


def _print_groups(groups: list[LetterGroup]) -> None:
    shown = terminal.table(
        *("fingerprint", "letters", "lane", "newest", "oldest", "fault", "message", "one of them"),
        right=["letters"],
        fold=["message"],
    )
    for group in groups:
        status = f" [{group.status}]" if group.status else ""
        shown.add_row(
            group.fingerprint,
            f"{group.letters:,}",
            group.lane,
            ago(group.newest),
            ago(group.oldest),
            terminal.cell(f"{group.fault or 'unknown'}{status}", "red"),
            terminal.cell(group.message),
            group.example,
        )
    terminal.out().show(shown)


def _print_each(database: Database, wanted: LetterFilter) -> None:
    shown = terminal.table("job", "when", "lane", "document", "fault", "message", fold=["document", "message"])
    for chunk in read_letters(database, wanted):
        for letter in chunk:
            fault = letter.fault
            shown.add_row(
                letter.id,
                ago(letter.ended_at),
                letter.lane,
                terminal.cell(letter.name),
                terminal.cell(fault.kind if fault else "unknown", "red"),
                terminal.cell(fault.message if fault else ""),
            )
    terminal.out().show(shown)


def show_letter(args: argparse.Namespace, settings: Settings) -> int:
    """The chain of its causes."""
    with open_database(settings.ledger_url) as database:
        told = story(database, find_job(database, args.job))
    if told is None:
        raise Mistake(f"no job {args.job!r}: `docmill results` lists them")
    job, chain = told.job, causes(told)
    fault = job.fault
    sort = fingerprint(fault.kind, fault.status, fault.code, fault.message) if fault else None
    if args.json:
        terminal.print_json({"job": job, "fingerprint": sort, "causes": [_cause_fields(cause) for cause in chain]})
        return 0
    grid = terminal.grid()
    for name, value in (
        ("job", job.id),
        ("document", job.name),
        ("state", job.state.value),
        ("recipe", job.recipe),
        ("lane", job.lane),
        ("fingerprint", sort),
        ("replay of", job.replay_of),
        ("replayed as", job.replayed_as),
    ):
        if value:
            grid.add_row(name, terminal.cell(value))
    terminal.out().show(grid)
    terminal.out().print()
    columns = ("when", "attempt", "came to", "fault", "model", "cost", "request")
    shown = terminal.table(*columns, right=["attempt", "cost"], fold=["fault"])
    for cause in chain:
        said = cause.fault
        status = f" [{said.status}]" if said and said.status else ""
        shown.add_row(
            moment(cause.at),
            str(cause.attempt + 1),
            cause.what,
            terminal.cell(f"{said.kind}{status}: {said.message}" if said else "", "red"),
            terminal.cell(", ".join(dict.fromkeys(call.model for call in cause.calls))),
            _cost(cause.calls),
            terminal.cell(", ".join(_requests(cause))),
        )
    terminal.out().show(shown)
    terminal.note(f"`docmill show {job.id}` tells the whole story, with --prompt what was asked", "dim")
    return 0


def _cause_fields(cause: Cause) -> dict[str, Any]:
    return {
        "at": cause.at,
        "what": cause.what,
        "generation": cause.generation,
        "attempt": cause.attempt + 1,
        "fault": cause.fault,
        "request_ids": _requests(cause),
        "calls": [
            {
                "call_id": call.id,
                "model": call.model,
                "state": call.state.value,
                "status": call.status,
                "request_id": call.request_id,
                "sent_at": call.sent_at,
                "finished_at": call.finished_at,
                "cost_nanousd": call.cost_nanousd,
                "cost_usd": exact_dollars(call.cost_nanousd),
                "estimate_nanousd": call.estimate_nanousd,
            }
            for call in cause.calls
        ],
    }


def _requests(cause: Cause) -> list[str]:
    named = [cause.fault.request_id if cause.fault else None, *(call.request_id for call in cause.calls)]
    return list(dict.fromkeys(request_id for request_id in named if request_id))


def _cost(calls: tuple[CallLine, ...]) -> str:
    if not calls:
        return "no call"
    known = [call.cost_nanousd for call in calls if call.cost_nanousd is not None]
    return dollars(sum(known)) if len(known) == len(calls) else "unknown"
