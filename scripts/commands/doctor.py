"""`docmill doctor`: what is configured, reachable or missing, and how to mend it. Never prints a secret."""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from config.catalogue import load_catalogue
from config.files import BadConfig
from config.prices import UnknownPrice, load_prices
from config.recipe import load_recipes
from config.settings import Settings, load_settings
from config.stack import NotConfigured, Stack
from scripts.commands.shared import terminal
from scripts.commands.shared.figures import counted
from scripts.commands.shared.lanes import read_pauses, tell
from scripts.commands.shared.mistakes import one_line
from scripts.commands.shared.options import add_json
from scripts.commands.shared.settings import broker

if TYPE_CHECKING:
    import redis

OLDEST_PYTHON = (3, 11)
LITTLE_DISK_BYTES, TOO_LITTLE_DISK_BYTES = 2_000_000_000, 200_000_000
REACH_TIMEOUT_S = 3
LEDGER_PATIENCE_S = 3.0
ANTHROPIC = "https://api.anthropic.com"


class Grade(StrEnum):
    """How a finding is to be taken."""

    OK = "ok"
    NOTE = "note"
    """As it may well be; worth knowing."""
    WARNING = "warning"
    """Works, and will hurt."""
    MISSING = "missing"
    """Needed, and not there."""


STYLES = {Grade.OK: "green", Grade.NOTE: "dim", Grade.WARNING: "yellow", Grade.MISSING: "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `mend` says what to do, where there is something to do."""

    about: str
    grade: Grade
    said: str
    mend: str = ""


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


def _print(findings: Iterable[Finding]) -> None:
    shown = terminal.grid(3)
    for finding in findings:
        said = terminal.cell(finding.said)
        if finding.mend:
            said.append(f"\n→ {terminal.printable(finding.mend)}", STYLES[finding.grade])
        shown.add_row(finding.about, terminal.cell(finding.grade.value, STYLES[finding.grade]), said)
    terminal.out().show(shown)


def _findings() -> Iterator[Finding]:
    yield from _python()
    try:
        settings = load_settings()
    except BadConfig as error:
        yield Finding("settings", Grade.MISSING, str(error), "mend or unset the variable")
        return
    for look in (_home, _files, _key, _ledger, _stack, _broker, _alerts):
        yield from look(settings)


def _python() -> Iterator[Finding]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info < OLDEST_PYTHON:
        yield Finding("python", Grade.MISSING, version, "docmill needs 3.11 or newer")
    else:
        yield Finding("python", Grade.OK, version)
    try:
        import uvloop  # noqa: F401 - whether it can be had
    except ImportError:
        yield Finding("uvloop", Grade.WARNING, "not installed", "a worker's loop is faster with it: pip install uvloop")
    else:
        yield Finding("uvloop", Grade.OK, "installed")


def _home(settings: Settings) -> Iterator[Finding]:
    home = settings.home.absolute()
    there = _nearest(home)
    if not os.access(there, os.W_OK) or not there.is_dir():
        yield Finding("home", Grade.MISSING, f"{home} cannot be written to", "set DOCMILL_HOME to a folder of yours")
        return
    yield Finding("home", Grade.OK, str(home) if home == there else f"{home}, made on first use")
    free = shutil.disk_usage(there).free
    said = f"{free / 1e9:,.1f} GB free"
    if free < TOO_LITTLE_DISK_BYTES:
        yield Finding("disk", Grade.MISSING, said, "make room, or set DOCMILL_HOME to a folder on another disk")
    elif free < LITTLE_DISK_BYTES:
        yield Finding(
            "disk", Grade.WARNING, said, "answers are kept here before they are kept anywhere else: make room"
        )
    else:
        yield Finding("disk", Grade.OK, said)


def _nearest(folder: Path) -> Path:
    """The folder itself, or the innermost one above it that exists."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def _files(settings: Settings) -> Iterator[Finding]:
    """Catalogue, prices and recipes: whether they can be read, and fit together."""
    mend = "mend the file; the shipped one in config/ shows the form"
    routed: set[str] = set()
    try:
        catalogue = load_catalogue(settings.home)
        routed = set(catalogue.routes.values())
        routes = ", ".join(f"{complexity.value} → {model}" for complexity, model in catalogue.routes.items())
        yield Finding("catalogue", Grade.OK, f"{counted(len(catalogue.models), 'model')}; {routes}")
        for model in sorted(routed):
            retires_on = catalogue.models[model].retires_on
            if retires_on is not None:
                yield Finding("catalogue", Grade.WARNING, f"{model} retires on {retires_on}", "route to another model")
    except BadConfig as error:
        yield Finding("catalogue", Grade.MISSING, str(error), mend)
    try:
        prices = load_prices(settings.home)
        for model in sorted(routed):
            prices.price(model, datetime.now(UTC))
        yield Finding("prices", Grade.OK, "every routed model has one")
    except UnknownPrice as error:
        yield Finding("prices", Grade.WARNING, one_line(str(error)), "until then its calls are of unknown cost")
    except BadConfig as error:
        yield Finding("prices", Grade.MISSING, str(error), mend)
    try:
        yield Finding("recipes", Grade.OK, ", ".join(sorted(load_recipes(settings.home))))
    except BadConfig as error:
        yield Finding("recipes", Grade.MISSING, str(error), mend)


def _key(settings: Settings) -> Iterator[Finding]:
    if settings.simulated:
        yield Finding(
            "claude", Grade.NOTE, "no ANTHROPIC_API_KEY: the simulator answers, synthetically", "set it to ask Claude"
        )
        return
    has_key = bool(settings.anthropic_api_key.get_secret_value())
    address = urlsplit(settings.anthropic_base_url or ANTHROPIC)
    said = f"{'a key is set' if has_key else 'no key is set'}; {address.hostname}"
    if not has_key:
        yield Finding("claude", Grade.MISSING, said, "ANTHROPIC_BASE_URL without ANTHROPIC_API_KEY: set the key")
    try:
        socket.create_connection(
            (address.hostname or "", address.port or (80 if address.scheme == "http" else 443)), REACH_TIMEOUT_S
        ).close()
    except OSError as error:
        yield Finding("claude", Grade.MISSING, f"{said}: {error.strerror or error}", "check the network or the address")
    else:
        yield Finding("claude", Grade.OK, f"{said}: reachable")


def _ledger(settings: Settings) -> Iterator[Finding]:
    from workers.ledger import LedgerError, health
    from workers.ledger.database import Database
    from workers.ledger.migrating import SCHEMA, schema_of

    file = settings.home / "ledger.sqlite3"
    if not settings.database_url and not file.exists():
        yield Finding("ledger", Grade.OK, f"SQLite in {file}, made on first use")
        return
    try:
        with Database(settings.ledger_url) as database:
            schema = database.read(schema_of, patience_s=LEDGER_PATIENCE_S)
            if schema != SCHEMA:
                said = f"{database.place}: {'empty' if schema is None else f'schema {schema}'}"
                newer = schema is not None and schema > SCHEMA
                yield Finding(
                    "ledger",
                    Grade.MISSING if newer else Grade.NOTE,
                    said,
                    "newer than this docmill: update it" if newer else f"the next command brings it to {SCHEMA}",
                )
                return
            found = health(database)
            place = database.place
    except LedgerError as error:
        yield Finding("ledger", Grade.MISSING, one_line(str(error)), "start the database, or mend DOCMILL_DATABASE_URL")
        return
    yield Finding(
        "ledger",
        Grade.OK,
        f"{found.dialect}, schema {found.schema}, {counted(sum(found.jobs.values()), 'job')}; {place}",
    )
    if found.unpublished:
        yield Finding(
            "ledger",
            Grade.NOTE,
            f"{counted(found.unpublished, 'job')} in line for the broker: `docmill lanes`",
            "" if found.workers else "workers bring them there: `docmill up`",
        )
    if found.unknown_calls:
        yield Finding("ledger", Grade.NOTE, f"{counted(found.unknown_calls, 'call')} of unknown cost: `docmill costs`")
    if found.workers:
        yield Finding("workers", Grade.OK, f"{found.workers} alive")
    else:
        yield Finding("workers", Grade.NOTE, "none is running", "`docmill up` starts them; `docmill run` its own")


def _stack(settings: Settings) -> Iterator[Finding]:
    stack = Stack.read(settings.home)
    if stack is None:
        yield Finding("stack", Grade.NOTE, "not running", "`docmill up` starts it; `docmill run` its own")
    else:
        flower = f", Flower on {stack.flower_url}" if stack.flower_url else ""
        yield Finding("stack", Grade.OK, f"process {stack.pid}{flower}")


def _broker(settings: Settings) -> Iterator[Finding]:
    import redis

    try:
        client = broker(settings)
    except NotConfigured:
        yield from _embedded_broker()
        return
    except BadConfig as error:
        yield Finding("broker", Grade.MISSING, str(error), "mend DOCMILL_REDIS_URL")
        return
    if client is None:
        yield Finding("broker", Grade.NOTE, "several servers: not looked at")
        return
    with client:
        try:
            yield from _server(client)
            yield from _paused(settings)
        except redis.RedisError as error:
            mend = "start it, or mend DOCMILL_REDIS_URL"
            yield Finding("broker", Grade.MISSING, one_line(str(error)), mend)


def _paused(settings: Settings) -> Iterator[Finding]:
    try:
        pauses = read_pauses(settings)
    except BadConfig:  # the catalogue's, which is found fault with above
        return
    for line, advice in tell(pauses):
        yield Finding("lanes", Grade.WARNING, line, advice)
    if not pauses:
        yield Finding("lanes", Grade.OK, "none is paused")


def _alerts(settings: Settings) -> Iterator[Finding]:
    from workers.alerts import configured

    try:
        names = [channel.name for channel in configured(settings)]
    except BadConfig as error:
        yield Finding("alerts", Grade.MISSING, str(error), "mend or unset the variable")
        return
    if len(names) == 1:
        yield Finding("alerts", Grade.NOTE, "go to the log alone", "set DOCMILL_ALERT_URLS to be told")
    else:
        yield Finding("alerts", Grade.OK, f"go to {', '.join(names)}; `docmill alerts test` tries them")


def _embedded_broker() -> Iterator[Finding]:
    from scripts.stack.valkey import ServerUnavailable, embedded_program

    try:
        embedded_program()
    except ServerUnavailable as error:
        yield Finding("broker", Grade.MISSING, "none", str(error))
    else:
        yield Finding("broker", Grade.NOTE, "not running: the embedded Valkey starts with the stack")


def _server(client: redis.Redis) -> Iterator[Finding]:
    from workers.transport import Quarantine

    told = client.info()
    name = told.get("server_name", "redis")
    version = told.get(f"{name}_version", told["redis_version"])
    host = client.connection_pool.connection_kwargs.get("host", "")
    yield Finding("broker", Grade.OK, f"{name} {version} on {host}" if host else f"{name} {version}")
    if told.get("maxmemory") and told.get("maxmemory_policy") != "noeviction":
        yield Finding(
            "broker",
            Grade.WARNING,
            f"maxmemory-policy {told['maxmemory_policy']}: it throws messages away when it is full",
            "set maxmemory-policy noeviction",
        )
    if not told.get("aof_enabled"):
        yield Finding("broker", Grade.WARNING, "no append-only file: a restart forgets messages", "set appendonly yes")
    held = Quarantine(client).count()
    if held:
        yield Finding(
            "quarantine",
            Grade.WARNING,
            f"{counted(held, 'message')} that no worker could read",
            "see workers.transport.Quarantine: list, requeue, drop",
        )
    else:
        yield Finding("quarantine", Grade.OK, "empty")
