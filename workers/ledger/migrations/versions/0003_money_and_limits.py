"""Money and limits: prices by content, days and their closings, budgets and their use, alerts, fair turns."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add them."""
    _jobs()
    _calls()
    _days()
    _budgets()
    _alerts()
    op.add_column("submissions", sa.Column("estimate", sa.JSON(), nullable=True))
    op.add_column("workers", sa.Column("lost_at", MOMENT, nullable=True))


def _jobs() -> None:
    op.add_column("jobs", sa.Column("priority", sa.Integer(), nullable=False, server_default=sa.text("3")))
    op.add_column("jobs", sa.Column("turn", BIG, nullable=False, server_default=sa.text("0")))
    unpublished = "state = 'queued' AND published_at IS NULL"
    in_line = sa.text(f"{unpublished} AND not_before IS NULL")
    in_time = sa.text(f"{unpublished} AND not_before IS NOT NULL")
    op.create_index(
        "ix_jobs_line", "jobs", ["lane", "priority", "turn"], sqlite_where=in_line, postgresql_where=in_line
    )
    op.create_index("ix_jobs_due", "jobs", ["lane", "not_before"], sqlite_where=in_time, postgresql_where=in_time)


def _calls() -> None:
    op.create_table(
        "prices",
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        *(
            sa.Column(f"{kind}_nanousd_per_mtok", BIG, nullable=False)
            for kind in ("input", "cache_write_5m", "cache_write_1h", "cache_read", "output")
        ),
        sa.Column("long_prompt_tokens", BIG, nullable=True),
        sa.Column("long_prompt_factor", sa.String(), nullable=False),
        sa.Column("batch_factor", sa.String(), nullable=False),
        sa.Column("us_only_factor", sa.String(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_prices"),
    )
    op.add_column("calls", sa.Column("price_hash", sa.String(), nullable=True))
    op.add_column("calls", sa.Column("multipliers", sa.JSON(), nullable=True))
    op.add_column("calls", sa.Column("characters", BIG, nullable=True))
    op.add_column("calls", sa.Column("held_nanousd", BIG, nullable=True))
    op.add_column("calls", sa.Column("day", sa.String(), nullable=False, server_default=sa.text("''")))
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    calls = sa.table("calls", sa.column("day"), sa.column("sent_at"))
    sent_on = sa.func.to_char(sa.func.timezone("UTC", calls.c.sent_at), "YYYY-MM-DD")
    op.execute(sa.update(calls).values(day=sa.func.substr(calls.c.sent_at, 1, 10) if is_sqlite else sent_on))
    op.create_index("ix_calls_day", "calls", ["day"])
    unknown = sa.text("state = 'unknown'")
    op.create_index("ix_calls_unknown", "calls", ["day"], sqlite_where=unknown, postgresql_where=unknown)


def _days() -> None:
    op.create_table(
        "days",
        sa.Column("day", sa.String(), nullable=False),
        sa.Column("zone", sa.String(), nullable=False),
        sa.Column("calls", BIG, nullable=False),
        sa.Column("cost_nanousd", BIG, nullable=False),
        sa.Column("unknown_calls", BIG, nullable=False),
        sa.Column("unknown_estimate_nanousd", BIG, nullable=False),
        sa.Column("open_calls", BIG, nullable=False),
        sa.Column("uncertain_calls", BIG, nullable=False),
        sa.Column("detail", sa.JSON(), nullable=True),
        sa.Column("counted_at", MOMENT, nullable=False),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("day", name="pk_days"),
    )


def _budgets() -> None:
    op.create_table(
        "budgets",
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("hard_nanousd", BIG, nullable=True),
        sa.Column("soft_nanousd", BIG, nullable=True),
        sa.Column("set_at", MOMENT, nullable=False),
        sa.Column("set_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "name", name="pk_budgets"),
    )
    op.create_table(
        "budget_use",
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("day", sa.String(), nullable=False),
        sa.Column("spent_nanousd", BIG, nullable=False),
        sa.Column("held_nanousd", BIG, nullable=False),
        sa.Column("refused_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("scope", "name", "day", name="pk_budget_use"),
    )


def _alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alerts"),
        sa.UniqueConstraint("key", name="uq_alerts_key"),
    )
    op.create_table(
        "deliveries",
        sa.Column("alert_id", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_at", MOMENT, nullable=True),
        sa.Column("sent_at", MOMENT, nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("alert_id", "channel", name="pk_deliveries"),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.id"], name="fk_deliveries_alert_id_alerts"),
    )
    op.create_index("ix_deliveries_next_at", "deliveries", ["next_at"])
