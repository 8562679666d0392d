"""Opening a ledger: made, migrated, refused."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, text

from tasks.model.job import JobState
from tests.postgres import PostgresServer
from tests.values import SUMMARIZE as RECIPE
from workers.ledger import (
    CostBy,
    Database,
    GroupedLedger,
    LedgerAway,
    LedgerError,
    begin_submission,
    costs,
    health,
    open_database,
    submissions,
)
from workers.ledger.migrating import SCHEMA, alembic_config
from workers.ledger.tables import METADATA

AT = datetime(2026, 11, 21, 23, 59, 59, tzinfo=UTC)


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


def fill(connection: Connection, revision: str) -> None:
    """A ledger as `revision` wrote it: a job that is done, with its call, and one whose message is in the broker."""
    command.upgrade(alembic_config(connection), revision)
    tables = MetaData()
    tables.reflect(connection)
    said = {
        "submissions": [{"id": "sub-1", "created_at": AT, "recipe": "sum", "label": "", "again": False, "source": ""}],
        "recipes": [
            {"hash": RECIPE.hash, "name": "sum", "definition": RECIPE.model_dump(mode="json"), "created_at": AT}
        ],
        "documents": [{"hash": "d", "media_type": "text/plain", "content": b"Hi", "size_bytes": 2, "created_at": AT}],
        "prompts": [{"shell_hash": "s", "shell": "{}", "created_at": AT}],
        "jobs": [old_job("job-1", JobState.DONE), old_job("job-2", JobState.QUEUED)],
        "calls": [
            {
                **dict.fromkeys(("attempt", "generation", "queued_ms"), 0),
                "id": "c-1",
                "job_id": "job-1",
                "model": "m",
                "max_tokens": 9,
                "shell_hash": "s",
                "document_hash": "d",
                "state": "answered",
                "cost_nanousd": 7,
                "synthetic": False,
                "sent_at": AT,
            }
        ],
    }
    for name, rows in said.items():
        connection.execute(tables.tables[name].insert(), rows)


def old_job(job_id: str, state: JobState) -> dict[str, Any]:
    """Columns that every version has."""
    return {
        **dict.fromkeys(("generation", "attempt", "throttles"), 0),
        "id": job_id,
        "key": job_id,
        "submission_id": "sub-1",
        "name": "a.txt",
        "document_hash": "d",
        "recipe_hash": RECIPE.hash,
        "recipe": "sum",
        "values": {},
        "complexity": "low",
        "lane": "low",
        "state": state.value,
        "created_at": AT,
        "published_at": AT,
    }


@pytest.mark.parametrize("revision", ["0001", "0002"])
async def test_a_ledger_of_every_landed_version_goes_on_where_it_was(empty_url: str, revision: str) -> None:
    with Database(empty_url) as old:
        old.write(lambda connection: fill(connection, revision))

    async with await GroupedLedger.open(empty_url, owner_timeout_s=10) as ledger:
        job = await ledger.claim("job-2", 0)
        assert job is not None
        assert (job.document.text, job.recipe.hash) == ("Hi", RECIPE.hash)
        (line,) = costs(ledger.database, CostBy.DAY)
        assert (line.group, line.spent.cost_nanousd) == ("2026-11-21", 7)


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
