"""What Alembic runs for a migration: on the connection and in the transaction of `workers.ledger.migrating`."""

from __future__ import annotations

from alembic import context

from workers.ledger.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,  # SQLite changes a column by copying its table
    compare_server_default=True,
)
context.run_migrations()
