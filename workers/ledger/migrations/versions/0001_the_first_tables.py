"""The first tables.

Types are written out, not taken from `workers.ledger.tables`: a step stays what it was when the tables move on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "documents",
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("media_type", sa.String(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("text", sa.String(), nullable=True),
        sa.Column("size_bytes", BIG, nullable=False),
        sa.Column("characters", BIG, nullable=True),
        sa.Column("pages", sa.Integer(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_documents"),
    )
    op.create_table(
        "prompts",
        sa.Column("shell_hash", sa.String(), nullable=False),
        sa.Column("shell", sa.String(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("shell_hash", name="pk_prompts"),
    )
    op.create_table(
        "recipes",
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_recipes"),
    )
    op.create_table(
        "submissions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("recipe", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("again", sa.Boolean(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_submissions"),
    )
    op.create_index("ix_submissions_created_at", "submissions", ["created_at"])

    op.create_table(
        "workers",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workers"),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("submission_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("document_hash", sa.String(), nullable=False),
        sa.Column("recipe_hash", sa.String(), nullable=False),
        sa.Column("recipe", sa.String(), nullable=False),
        sa.Column("values", sa.JSON(), nullable=False),
        sa.Column("complexity", sa.String(), nullable=False),
        sa.Column("lane", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("throttles", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(), nullable=True),
        sa.Column("owner", sa.String(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("published_at", MOMENT, nullable=True),
        sa.Column("not_before", MOMENT, nullable=True),
        sa.Column("message_id", sa.String(), nullable=True),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("route_model", sa.String(), nullable=True),
        sa.Column("route_reason", sa.String(), nullable=True),
        sa.Column("fault", sa.String(), nullable=True),
        sa.Column("fault_message", sa.String(), nullable=True),
        sa.Column("fault_status", sa.Integer(), nullable=True),
        sa.Column("fault_code", sa.String(), nullable=True),
        sa.Column("fault_request_id", sa.String(), nullable=True),
        sa.Column("output", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["document_hash"], ["documents.hash"], name="fk_jobs_document_hash"),
        sa.ForeignKeyConstraint(["recipe_hash"], ["recipes.hash"], name="fk_jobs_recipe_hash"),
        sa.ForeignKeyConstraint(["submission_id"], ["submissions.id"], name="fk_jobs_submission_id"),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.UniqueConstraint("key", name="uq_jobs_key"),
    )
    op.create_index("ix_jobs_document_hash", "jobs", ["document_hash"])
    op.create_index(
        "ix_jobs_queued",
        "jobs",
        ["published_at"],
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index("ix_jobs_state_lane", "jobs", ["state", "lane"])
    op.create_index("ix_jobs_submission_id_state", "jobs", ["submission_id", "state"])
    op.create_index(
        "ix_jobs_waiting",
        "jobs",
        ["not_before"],
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )

    op.create_table(
        "calls",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("max_tokens", sa.Integer(), nullable=False),
        sa.Column("shell_hash", sa.String(), nullable=False),
        sa.Column("document_hash", sa.String(), nullable=False),
        sa.Column("queued_ms", BIG, nullable=False),
        sa.Column("estimate_nanousd", BIG, nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("input_tokens", BIG, nullable=True),
        sa.Column("cache_write_5m_tokens", BIG, nullable=True),
        sa.Column("cache_write_1h_tokens", BIG, nullable=True),
        sa.Column("cache_read_tokens", BIG, nullable=True),
        sa.Column("output_tokens", BIG, nullable=True),
        sa.Column("thinking_tokens", BIG, nullable=True),
        sa.Column("cost_nanousd", BIG, nullable=True),
        sa.Column("price_source", sa.String(), nullable=True),
        sa.Column("price_version", sa.String(), nullable=True),
        sa.Column("request_id", sa.String(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("stop_reason", sa.String(), nullable=True),
        sa.Column("fault", sa.String(), nullable=True),
        sa.Column("first_byte_ms", BIG, nullable=True),
        sa.Column("total_ms", BIG, nullable=True),
        sa.Column("synthetic", sa.Boolean(), nullable=False),
        sa.Column("sent_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("text", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_calls_job_id"),
        sa.ForeignKeyConstraint(["shell_hash"], ["prompts.shell_hash"], name="fk_calls_shell_hash"),
        sa.PrimaryKeyConstraint("id", name="pk_calls"),
    )
    op.create_index("ix_calls_job_id", "calls", ["job_id"])
    op.create_index("ix_calls_sent_at", "calls", ["sent_at"])

    op.create_table(
        "items",
        sa.Column("submission_id", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("created", sa.Boolean(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_items_job_id"),
        sa.ForeignKeyConstraint(["submission_id"], ["submissions.id"], name="fk_items_submission_id"),
        sa.PrimaryKeyConstraint("submission_id", "position", name="pk_items"),
    )
    op.create_index("ix_items_job_id", "items", ["job_id"])
    op.create_index("ix_items_submission_id_created", "items", ["submission_id", "created"])

    op.create_table(
        "job_events",
        sa.Column("id", BIG, nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_job_events_job_id"),
        sa.PrimaryKeyConstraint("id", name="pk_job_events"),
    )
    op.create_index("ix_job_events_job_id", "job_events", ["job_id"])
