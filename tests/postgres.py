"""A real PostgreSQL server for the tests; `scripts.bench.postgres` starts and stops it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scripts.bench.postgres import PostgresServer, postgres_programs

__all__ = ["PostgresServer", "postgres", "postgres_programs"]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL for the tests of this process; make your own database in it, and do not restart it."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("no PostgreSQL programs (initdb, postgres) on this machine")
    with PostgresServer.temporary(programs) as server:
        yield server
