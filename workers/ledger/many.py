"""One statement for many rows, at the price of a group: compiled once, run on the driver's own cursor.

A statement is written once, against the columns of `Given`. On SQLite these are parameters and the statement runs row
by row, which costs no round trip; on PostgreSQL they are the columns of one JSON parameter and it runs once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from typing import Any

from sqlalchemy import JSON, ColumnElement, Connection, Dialect, Table, Text, bindparam, cast, column, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Delete, Insert, ReturningUpdate, Update
from sqlalchemy.sql.selectable import Select, TableValuedAlias
from sqlalchemy.types import TypeEngine

from workers.ledger.tables import Utc

Statement = Insert | Update | Delete | ReturningUpdate[Any] | Select[Any]
Row = Mapping[str, Any]
Process = Callable[[Any], Any]


class Given:
    """The columns of the rows that a statement is run for."""

    def __init__(self, types: Mapping[str, TypeEngine[Any]], dialect: Dialect) -> None:
        self._rows: TableValuedAlias | None = None
        if dialect.name == "postgresql":
            rows = func.json_to_recordset(bindparam("rows", None, type_=JSON()))
            # JSON in JSON travels as text: PostgreSQL unpacks what it reads, and cannot unpack an escaped NUL.
            columns = [column(name, Text() if isinstance(kind, JSON) else kind) for name, kind in types.items()]
            self._rows = rows.table_valued(*columns, name="given").render_derived(with_types=True)
            self._columns: dict[str, ColumnElement[Any]] = {
                name: cast(self._rows.c[name], kind) if isinstance(kind, JSON) else self._rows.c[name]
                for name, kind in types.items()
            }
        else:
            self._columns = {name: bindparam(f"given_{name}", None, type_=kind) for name, kind in types.items()}

    def __getitem__(self, name: str) -> ColumnElement[Any]:
        return self._columns[name]

    def insert_into(self, table: Table) -> Insert:
        """Insert all given columns; rows whose key is there already are left as they are."""
        if self._rows is None:
            return sqlite.insert(table).values(self._columns).on_conflict_do_nothing()
        statement = postgresql.insert(table).from_select(list(self._columns), select(*self._columns.values()))
        return statement.on_conflict_do_nothing()


@dataclass(frozen=True, slots=True)
class _Compiled:
    sql: str
    constants: Mapping[str, Any]
    binds: tuple[tuple[str | None, Any, Process | None], ...]
    """SQLite's parameters in order: a column of the row with its processor, or None and a constant."""
    json_columns: tuple[str, ...]
    """Of the given ones, on PostgreSQL."""
    results: tuple[Process | None, ...]
    returns: bool


class Many:
    """A statement for many rows. `build` writes it; `types` are the columns a row must give."""

    def __init__(self, build: Callable[[Given], Statement], types: Mapping[str, TypeEngine[Any]]) -> None:
        self._build = build
        self._types = types
        self._compiled: dict[str, _Compiled] = {}

    def run(self, connection: Connection, rows: Sequence[Row]) -> list[tuple[Any, ...]]:
        """Run it for all rows; return what it selects or returns, in no certain order."""
        if not rows:
            return []
        dialect = connection.dialect
        ready = self._compiled.get(dialect.name)
        if ready is None:
            ready = self._compiled[dialect.name] = self._compile(dialect)
        if dialect.name == "postgresql":
            found = _run_postgresql(connection, ready, rows)
        else:
            found = _run_sqlite(connection, ready, rows)
        return _processed(found, ready.results) if found and any(ready.results) else found

    def _compile(self, dialect: Dialect) -> _Compiled:
        statement = self._build(Given(self._types, dialect))
        compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
        constants = {name: value for name, value in compiled.params.items() if name != "rows"}
        prefix = "given_"
        binds = tuple(
            (name.removeprefix(prefix), None, _bind_processor(self._types[name.removeprefix(prefix)], dialect))
            if name.startswith(prefix)
            else (None, compiled.params[name], None)
            for name in getattr(compiled, "positiontup", None) or ()
        )
        columns = list(statement.exported_columns)
        results = tuple(_result_processor(each.type, dialect) for each in columns)
        json_columns = tuple(name for name, kind in self._types.items() if isinstance(kind, JSON))
        return _Compiled(str(compiled), constants, binds, json_columns, results, bool(columns))


def _run_sqlite(connection: Connection, ready: _Compiled, rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    # Column by column, which takes a third of the time of row by row.
    columns: list[Iterable[Any]] = []
    for key, constant, process in ready.binds:
        if key is None:
            columns.append(repeat(constant))
        else:
            column = [row[key] for row in rows]
            columns.append(map(process, column) if process else column)
    bound = zip(*columns, strict=False)
    cursor = connection.connection.cursor()
    if ready.returns:
        return [found for values in bound for found in cursor.execute(ready.sql, values).fetchall()]
    cursor.executemany(ready.sql, list(bound))
    return []


def _run_postgresql(connection: Connection, ready: _Compiled, rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    for name in ready.json_columns:
        rows = [row if row[name] is None else {**row, name: json.dumps(row[name])} for row in rows]
    values = {**ready.constants, "rows": json.dumps(rows, default=str)}
    result = connection.exec_driver_sql(ready.sql, values)
    return [tuple(row) for row in result] if ready.returns else []


def _processed(found: Sequence[tuple[Any, ...]], results: Sequence[Process | None]) -> list[tuple[Any, ...]]:
    columns = zip(*found, strict=True)
    ready = [map(process, column) if process else column for process, column in zip(results, columns, strict=True)]
    return list(zip(*ready, strict=True))


def _bind_processor(kind: TypeEngine[Any], dialect: Dialect) -> Process | None:
    process = kind.dialect_impl(dialect).bind_processor(dialect)
    # All rows of a group have the same few moments, and writing one out costs as much as a row's other columns.
    return lru_cache(maxsize=64)(process) if process and isinstance(kind, Utc) else process


def _result_processor(kind: TypeEngine[Any], dialect: Dialect) -> Process | None:
    return kind.dialect_impl(dialect).result_processor(dialect, None)
