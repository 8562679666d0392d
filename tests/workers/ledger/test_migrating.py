"""Opening a ledger: made, migrated, refused."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from tests.postgres import PostgresServer
from workers.ledger import Database, LedgerAway, LedgerError, begin_submission, health, open_database, submissions
from workers.ledger.migrating import SCHEMA, alembic_config
from workers.ledger.tables import METADATA


def test_the_migrated_schema_is_the_models(database: Database) -> None:
    def differences(connection: Connection) -> object:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return compare_metadata(context, METADATA)

    assert database.read(differences) == []


def test_the_schema_we_name_is_the_newest_step(database: Database) -> None:
    heads = database.read(lambda connection: ScriptDirectory.from_config(alembic_config(connection)).get_heads())
    assert heads == [SCHEMA]
    assert health(database).schema == SCHEMA


def test_many_may_open_a_new_ledger_at_once(empty_url: str) -> None:
    def open_and_close(_: int) -> str | None:
        with open_database(empty_url) as database:
            return health(database).schema

    with ThreadPoolExecutor(6) as threads:
        assert set(threads.map(open_and_close, range(6))) == {SCHEMA}


def test_a_ledger_newer_than_the_code_is_refused_in_one_line(url: str) -> None:
    with open_database(url) as database:
        database.write(lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(LedgerError, match=r"schema 9999 is newer than this docmill.*update docmill") as refusal:
        open_database(url)
    assert "\n" not in str(refusal.value)


def test_a_file_of_documents_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "new" / "ledger.sqlite3"
    open_database(f"sqlite:///{file}").close()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("no url", "is no URL"),
        ("mysql://host/name", "'mysql': use PostgreSQL"),
        ("sqlite:////proc/nowhere/ledger", "DOCMILL_HOME"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_in_one_line(url: str, said: str) -> None:
    with pytest.raises(LedgerError, match=said) as refusal:
        open_database(url)
    assert "\n" not in str(refusal.value)


def test_a_server_that_is_not_there_is_away_and_its_password_is_not_told() -> None:
    with pytest.raises(LedgerAway) as refusal:
        open_database("postgresql+psycopg://me:secret@127.0.0.1:1/name", patience_s=0)
    assert "127.0.0.1" in str(refusal.value)
    assert "secret" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.postgres
def test_a_database_without_an_encoding_holds_every_alphabet(postgres: PostgresServer) -> None:
    url = postgres.new_database("ascii", template="template0", encoding="SQL_ASCII")
    with open_database(url) as database:
        submission = begin_submission(database, recipe="summarize", label="便り")
        assert [line.label for line in submissions(database) if line.id == submission] == ["便り"]
