"""The ledger, and who works from it."""

from __future__ import annotations

from collections.abc import Iterator

from config.settings import Settings
from scripts.commands.shared.figures import counted
from scripts.commands.shared.health.finding import Finding, Grade
from scripts.commands.shared.mistakes import one_line
from workers.ledger import Database, Health, LedgerError, health
from workers.ledger.migrating import SCHEMA, schema_of

PATIENCE_S = 3.0


def ledger(settings: Settings) -> Iterator[Finding]:
    """Whether it is there, and what is in it. It is not made, nor brought to this version, for being looked at."""
    file = settings.home / "ledger.sqlite3"
    if not settings.database_url and not file.exists():
        yield Finding("ledger", Grade.OK, f"SQLite in {file}, made on first use")
        return
    try:
        with Database(settings.ledger_url) as database:
            schema = database.read(schema_of, patience_s=PATIENCE_S)
            if schema == SCHEMA:
                yield from _contents(health(database), database.place)
            else:
                yield _of_another_version(schema, database.place)
    except LedgerError as error:
        yield Finding("ledger", Grade.MISSING, one_line(str(error)), "start the database, or mend DOCMILL_DATABASE_URL")


def _of_another_version(schema: str | None, place: str) -> Finding:
    said = f"{place}: {'empty' if schema is None else f'schema {schema}'}"
    if schema is not None and schema > SCHEMA:
        return Finding("ledger", Grade.MISSING, said, "newer than this docmill: update it")
    return Finding("ledger", Grade.NOTE, said, f"the next command brings it to {SCHEMA}")


def _contents(found: Health, place: str) -> Iterator[Finding]:
    jobs = counted(sum(found.jobs.values()), "job")
    yield Finding("ledger", Grade.OK, f"{found.dialect}, schema {found.schema}, {jobs}; {place}")
    if found.unpublished:
        said = f"{counted(found.unpublished, 'job')} in line for the broker: `docmill lanes`"
        yield Finding("ledger", Grade.NOTE, said, "" if found.workers else "workers bring them there: `docmill up`")
    if found.unknown_calls:
        yield Finding("ledger", Grade.NOTE, f"{counted(found.unknown_calls, 'call')} of unknown cost: `docmill costs`")
    if found.workers:
        yield Finding("workers", Grade.OK, f"{found.workers} alive")
    else:
        yield Finding("workers", Grade.NOTE, "none is running", "`docmill up` starts them; `docmill run` its own")
