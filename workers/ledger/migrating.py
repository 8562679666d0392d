"""Bringing a database's schema to the code's, forward only, however many processes start at once.

Alembic is imported only where there is something to do: it costs as much as a whole short command.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, inspect, select, table
from sqlalchemy.sql.expression import column

from workers.ledger.database import PATIENCE_S, Database
from workers.ledger.errors import LedgerError

if TYPE_CHECKING:
    from alembic.config import Config

SCHEMA = "0003"
"""The newest step in `migrations/versions`."""
MIGRATIONS = Path(__file__).with_name("migrations")
ADVISORY_LOCK = 0x646F636D696C6C  # "docmill"
"""PostgreSQL's lock on migrating, held to the end of the transaction. SQLite's is the write transaction itself."""


def open_database(url: str, *, patience_s: float = PATIENCE_S) -> Database:
    """Open the ledger, made and migrated as needed.

    `url` is SQLAlchemy's, as `Settings.ledger_url`. Raises `LedgerError`: unreachable for `patience_s`, or newer than
    this code.
    """
    database = Database(url)
    try:
        deadline = time.monotonic() + patience_s
        if database.read(schema_of, patience_s=patience_s) != SCHEMA:
            database.write(lambda connection: _migrate(connection, database.place), patience_s=patience_s)
        database.read(database.set_clock, patience_s=max(0.0, deadline - time.monotonic()))
    except LedgerError:
        database.close()
        raise
    return database


def schema_of(connection: Connection) -> str | None:
    """The step that a database is at; None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(select(column("version_num")).select_from(table("alembic_version"))).scalar_one_or_none()


def alembic_config(connection: Connection) -> Config:
    """What Alembic needs to know, without a file for it."""
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def _migrate(connection: Connection, place: str) -> None:
    from alembic import command
    from alembic.script import ScriptDirectory

    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(ADVISORY_LOCK)))
    current = schema_of(connection)  # somebody else may have been here while we waited for the lock
    config = alembic_config(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise LedgerError(
            f"ledger {place}: its schema {current} is newer than this docmill, which knows {SCHEMA}: update docmill"
        )
    command.upgrade(config, "head")
