"""What goes wrong between us and the database, without a row's values in it."""

from __future__ import annotations

import sqlite3

import psycopg
from sqlalchemy.exc import DBAPIError

from tasks import ports

_SQLITE_PASSING = {
    sqlite3.SQLITE_BUSY: "locked by another process",
    sqlite3.SQLITE_LOCKED: "locked by another connection",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk fails",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened",
    sqlite3.SQLITE_READONLY: "read-only",
}
"""By primary result code: what may pass while nothing is wrong with the statement."""


class LedgerError(Exception):
    """The ledger cannot be used: one line for a person."""


class LedgerAway(LedgerError, ports.LedgerUnavailable):
    """The database is locked, full or unreachable: the same operation may work later."""


def translated(error: Exception, place: str) -> LedgerError:
    """Ours for a driver's or SQLAlchemy's error. Theirs may quote a row, so raise this `from None`."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        if code in _SQLITE_PASSING:
            return LedgerAway(f"ledger {place}: {_SQLITE_PASSING[code]}")
        return LedgerError(f"ledger {place}: {cause}")  # SQLite names tables and columns, never values
    if isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError):
        # Without an SQLSTATE it is the connection that failed, and libpq's words name host and port.
        reason = type(cause).__name__ if cause.sqlstate else _first_line(cause)
        return LedgerAway(f"ledger {place}: {reason}")
    if isinstance(cause, psycopg.Error):
        names = [type(cause).__name__, cause.sqlstate, cause.diag.constraint_name]
        return LedgerError(f"ledger {place}: {' '.join(name for name in names if name)}")
    return LedgerError(f"ledger {place}: {type(cause).__name__}")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
