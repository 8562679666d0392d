"""A connection to the ledger: SQLite in a file, or PostgreSQL. Transactions, patience, and the time by its clock.

SQLite runs in WAL mode with `synchronous=FULL`: a committed group survives `kill -9` and, as far as the disk keeps its
word, a power cut, as it does on PostgreSQL. Groups share the sync, so it costs no CPU to speak of; without it the note
that a request is about to be sent could be lost, and the request paid for again.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self, TypeVar

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError

from workers.ledger.errors import LedgerAway, LedgerError, translated

BUSY_TIMEOUT_S = 30
"""SQLite waits so long for another process's transaction before it says `locked`."""
CONNECT_TIMEOUT_S = 5
PATIENCE_S = 30.0
"""How long a command tries again while the database is locked or away."""
LONGEST_PAUSE_S = 2.0

T = TypeVar("T")


class Database:
    """The ledger's database, from any thread. `open_database` makes one whose schema is the code's."""

    def __init__(self, url: str, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self.engine = _engine(url, busy_timeout_s)
        self.place = self.engine.url.render_as_string(hide_password=True)
        self._ahead = timedelta()

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.engine.dialect.name

    def now(self) -> datetime:
        """The moment by the database's clock, which all its workers share."""
        return datetime.now(UTC) + self._ahead

    def set_clock(self, connection: Connection) -> None:
        """Learn how far PostgreSQL's clock is ahead of ours. SQLite has none of its own."""
        if self.dialect == "postgresql":
            theirs = connection.execute(select(func.clock_timestamp())).scalar_one()
            self._ahead = theirs - datetime.now(UTC)

    def write(self, work: Callable[[Connection], T], *, patience_s: float = PATIENCE_S) -> T:
        """Run `work` in a transaction, again while the database is locked or away, and return what it returns.

        `work` must come to the same when it is run twice: a commit whose answer was lost is done again. Raises
        `LedgerAway` after `patience_s` (on SQLite up to `busy_timeout_s` later), `LedgerError` for anything else.
        """
        return self._patiently(lambda: self._once(work, writes=True), patience_s)

    def read(self, work: Callable[[Connection], T], *, patience_s: float = PATIENCE_S) -> T:
        """The same for a transaction that only reads, and so waits for nobody on SQLite."""
        return self._patiently(lambda: self._once(work, writes=False), patience_s)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _once(self, work: Callable[[Connection], T], *, writes: bool) -> T:
        with self._translating(), self.engine.connect() as plain:
            connection = plain.execution_options(docmill_writes=writes)
            with connection.begin():
                return work(connection)

    def _patiently(self, attempt: Callable[[], T], patience_s: float) -> T:
        deadline = time.monotonic() + patience_s
        pause_s = 0.02
        while True:
            try:
                return attempt()
            except LedgerAway:
                if time.monotonic() + pause_s >= deadline:
                    raise
            time.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 - spreads writers, keeps no secret
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, sqlite3.Error, psycopg.Error) as error:
            raise translated(error, self.place) from None


def _engine(url: str, busy_timeout_s: float) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return _sqlite(url, Path(parsed.database or ""), busy_timeout_s)
        if parsed.get_backend_name() == "postgresql":
            return create_engine(
                parsed.set(drivername="postgresql+psycopg"),
                hide_parameters=True,
                connect_args={
                    "connect_timeout": CONNECT_TIMEOUT_S,
                    "application_name": "docmill",
                    "client_encoding": "utf8",  # a database in SQL_ASCII would hand out bytes
                    "options": "-c timezone=UTC",  # a day of costs is a day in UTC
                },
            )
    except ArgumentError:
        raise LedgerError("DOCMILL_DATABASE_URL is no URL: write postgresql://user@host/name") from None
    raise LedgerError(f"DOCMILL_DATABASE_URL names {parsed.get_backend_name()!r}: use PostgreSQL, or leave it empty")


def _sqlite(url: str, file: Path, busy_timeout_s: float) -> Engine:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)  # people's documents are in it
    except OSError as error:
        raise LedgerError(f"ledger {file}: {error.strerror}: set DOCMILL_HOME to a folder you may write to") from None
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": busy_timeout_s})

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # the driver's own BEGIN comes too late; ours is below
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A writer takes the lock at once: one that read first could only be refused it later, never wait for it.
        writes = connection.get_execution_options().get("docmill_writes", True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
