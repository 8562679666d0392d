"""`docmill doctor`: what is configured, reachable or missing, and how to mend it. Never prints a secret."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator

from config.files import BadConfig
from config.settings import load_settings
from scripts.commands.shared import terminal
from scripts.commands.shared.health.broker import broker
from scripts.commands.shared.health.files import files
from scripts.commands.shared.health.finding import Finding, Grade
from scripts.commands.shared.health.ledger import ledger
from scripts.commands.shared.health.machine import home, python
from scripts.commands.shared.health.services import alerts, claude, stack
from scripts.commands.shared.health.spool import spool
from scripts.commands.shared.options import add_json

STYLES = {Grade.OK: "green", Grade.NOTE: "dim", Grade.WARNING: "yellow", Grade.MISSING: "red"}


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog = "exit codes: 0 nothing needed is missing; 1 something is"
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Look at everything, whatever the first things looked at say."""
    findings = list(_findings())
    healthy = all(finding.grade is not Grade.MISSING for finding in findings)
    if args.json:
        terminal.print_json({"healthy": healthy, "findings": findings})
    else:
        _print(findings)
    return 0 if healthy else 1


def _findings() -> Iterator[Finding]:
    yield from python()
    try:
        settings = load_settings()
    except BadConfig as error:
        yield Finding("settings", Grade.MISSING, str(error), "mend or unset the variable")
        return
    for look in (home, files, claude, ledger, spool, stack, broker, alerts):
        yield from look(settings)


def _print(findings: Iterable[Finding]) -> None:
    shown = terminal.grid(3)
    for finding in findings:
        said = terminal.cell(finding.said)
        if finding.mend:
            said.append(f"\n→ {terminal.printable(finding.mend)}", STYLES[finding.grade])
        shown.add_row(finding.about, terminal.cell(finding.grade.value, STYLES[finding.grade]), said)
    terminal.out().show(shown)
