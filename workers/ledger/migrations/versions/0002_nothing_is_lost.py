"""What it takes to lose nothing: how often a job's worker died, what was tried, what was replayed, whose turn it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add them."""
    op.add_column("jobs", sa.Column("crashes", sa.Integer(), nullable=False, server_default=sa.text("0")))
    op.add_column("jobs", sa.Column("tried_since", MOMENT, nullable=True))
    op.add_column("jobs", sa.Column("faults", sa.JSON(), nullable=True))
    op.add_column("jobs", sa.Column("replay_of", sa.String(), nullable=True))
    op.add_column("jobs", sa.Column("replayed_as", sa.String(), nullable=True))
    op.create_index(
        "ix_jobs_replayed",
        "jobs",
        ["submission_id"],
        sqlite_where=sa.text("replayed_as IS NOT NULL"),
        postgresql_where=sa.text("replayed_as IS NOT NULL"),
    )
    op.create_index(
        "ix_calls_open",
        "calls",
        ["sent_at"],
        sqlite_where=sa.text("state = 'sent'"),
        postgresql_where=sa.text("state = 'sent'"),
    )
    op.create_table(
        "slots",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("slot", BIG, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_slots"),
    )
