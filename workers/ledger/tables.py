"""The ledger's tables. What may be written to them when is in `workers.ledger.moving` and `workers.ledger.submitting`.

Times are UTC and carry their zone on the way in and out. Text that came from outside goes through `storable` first.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    TypeDecorator,
    text,
)
from sqlmodel import Field, SQLModel

METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)
"""Our own, so that another library's SQLModel tables never end up in the ledger."""


class Utc(TypeDecorator[datetime]):
    """A moment. SQLite keeps it as text in UTC, which sorts by time; PostgreSQL as `timestamptz`."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a moment without a zone: it would be off by the machine's."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the moment its zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


BigInt = BigInteger().with_variant(Integer, "sqlite")
"""64 bits; SQLite's INTEGER has them, and only INTEGER counts up by itself there."""
Json = JSON(none_as_null=True)


def storable(said: str) -> str:
    """Text that both databases take: NUL, which PostgreSQL cannot store, and lone surrogates become U+FFFD."""
    if "\x00" in said:
        said = said.replace("\x00", "\ufffd")
    try:
        said.encode()
    except UnicodeEncodeError:
        said = said.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return said


def _only(condition: str) -> dict[str, Any]:
    """Keep an index to the rows that meet the condition, on both databases."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


class LedgerTable(SQLModel):
    """Base of all tables here."""

    metadata = METADATA


class SubmissionRow(LedgerTable, table=True):
    """Jobs that were submitted together."""

    __tablename__ = "submissions"

    id: str = Field(primary_key=True)
    created_at: datetime = Field(sa_type=Utc, index=True)
    recipe: str
    label: str
    again: bool
    """Whether known documents were to run, and be paid for, again."""
    source: str
    """Where the documents came from, as a person would say it."""
    estimate: dict[str, Any] | None = Field(default=None, sa_type=Json)
    """What it was expected to cost when it was submitted."""


class DocumentRow(LedgerTable, table=True):
    """A document, once, whoever submits it how often."""

    __tablename__ = "documents"

    hash: str = Field(primary_key=True)
    """SHA-256 of `content`, in hex."""
    media_type: str
    content: bytes = Field(sa_type=LargeBinary)
    """As submitted."""
    text: str | None
    """Only where it is not simply the content as UTF-8."""
    size_bytes: int = Field(sa_type=BigInt)
    characters: int | None = Field(sa_type=BigInt)
    """Of its text, see `tasks.rules.prompting.length`; None where it has none and is sent as it is."""
    pages: int | None
    created_at: datetime = Field(sa_type=Utc)


class RecipeRow(LedgerTable, table=True):
    """A recipe as it was when a job was submitted with it, so that a worker needs no file of the submitter's."""

    __tablename__ = "recipes"

    hash: str = Field(primary_key=True)
    name: str
    definition: dict[str, Any] = Field(sa_type=Json)
    created_at: datetime = Field(sa_type=Utc)


_UNPUBLISHED = "state = 'queued' AND published_at IS NULL"


class JobRow(LedgerTable, table=True):
    """One document, one recipe, one complexity: what was asked, where it is, what came of it."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_state_lane", "state", "lane"),
        Index("ix_jobs_submission_id_state", "submission_id", "state"),
        # For a sweeper: what was never published or long ago, and what is overdue. Only unfinished jobs are in them.
        Index("ix_jobs_queued", "published_at", **_only("state = 'queued'")),
        Index("ix_jobs_waiting", "not_before", **_only("state = 'waiting'")),
        Index("ix_jobs_replayed", "submission_id", **_only("replayed_as IS NOT NULL")),
        # What waits for its turn to be published, and what for its time.
        Index("ix_jobs_line", "lane", "priority", "turn", **_only(f"{_UNPUBLISHED} AND not_before IS NULL")),
        Index("ix_jobs_due", "lane", "not_before", **_only(f"{_UNPUBLISHED} AND not_before IS NOT NULL")),
    )

    id: str = Field(primary_key=True)
    key: str = Field(unique=True)
    """Idempotency key: the same document, recipe and options are the same job."""
    submission_id: str = Field(foreign_key="submissions.id")
    """The submission that created it; later ones point to it in `items`."""
    name: str
    """What the submission that created it called the document."""
    document_hash: str = Field(foreign_key="documents.hash", index=True)
    recipe_hash: str = Field(foreign_key="recipes.hash")
    recipe: str
    values: dict[str, str] = Field(sa_type=Json)
    complexity: str
    lane: str
    """The queue its messages go to."""
    priority: int = Field(sa_column_kwargs={"server_default": text("3")})
    """The broker's priority step: a smaller one goes first."""
    turn: int = Field(sa_type=BigInt, sa_column_kwargs={"server_default": text("0")})
    """Its place in its lane's line: submissions take turns, whichever is larger."""
    model: str | None
    """Asked for by the submitter; None leaves it to the complexity."""
    state: str
    generation: int
    attempt: int
    throttles: int
    faults: dict[str, int] | None = Field(sa_type=Json)
    """Faults so far, by kind. None is none."""
    crashes: int = Field(sa_column_kwargs={"server_default": text("0")})
    """Times its worker died while it ran."""
    tried_since: datetime | None = Field(sa_type=Utc)
    """Its first claim since it was submitted, replayed, parked, or put back; later by as long as retries that were due
    lay in their lane. The deadline counts from here."""
    replay_of: str | None
    """The job whose dead letter was edited and replayed as this one."""
    replayed_as: str | None
    token: str | None
    """Of the last claim. It stays after a settlement, by which a repeated settlement knows its own work."""
    owner: str | None
    created_at: datetime = Field(sa_type=Utc)
    published_at: datetime | None = Field(sa_type=Utc)
    not_before: datetime | None = Field(sa_type=Utc)
    message_id: str | None
    """Celery's id of the message it was last claimed by, or before its first claim, of the one published."""
    started_at: datetime | None = Field(sa_type=Utc)
    finished_at: datetime | None = Field(sa_type=Utc)
    route_model: str | None
    route_reason: str | None
    fault: str | None
    fault_message: str | None
    fault_status: int | None
    fault_code: str | None
    fault_request_id: str | None
    output: str | None


class ItemRow(LedgerTable, table=True):
    """What a submission asked for, in its order. A document that was known points to the job that is there."""

    __tablename__ = "items"
    __table_args__ = (
        # A submission's progress is counted on `jobs` alone, and on these few.
        Index("ix_items_submission_id_created", "submission_id", "created"),
    )

    submission_id: str = Field(primary_key=True, foreign_key="submissions.id")
    position: int = Field(primary_key=True)
    name: str
    job_id: str = Field(foreign_key="jobs.id", index=True)
    created: bool
    """Whether this item created the job."""
    extra: dict[str, Any] = Field(sa_column=Column("metadata", Json, nullable=False))
    """The submitter's metadata; SQLAlchemy keeps the name for itself."""


class PromptRow(LedgerTable, table=True):
    """A prompt with a mark in the document's place, once per recipe and values."""

    __tablename__ = "prompts"

    shell_hash: str = Field(primary_key=True)
    shell: str
    created_at: datetime = Field(sa_type=Utc)


class CallRow(LedgerTable, table=True):
    """One request to Claude; see `tasks.model.call.Call`. None means not known; it never means 0."""

    __tablename__ = "calls"
    __table_args__ = (
        Index("ix_calls_open", "sent_at", **_only("state = 'sent'")),
        Index("ix_calls_day", "day"),
        # What may yet be known better, and so change the total of a day that was closed.
        Index("ix_calls_unknown", "day", **_only("state = 'unknown'")),
    )

    id: str = Field(primary_key=True)
    job_id: str = Field(foreign_key="jobs.id", index=True)
    attempt: int
    generation: int
    model: str
    max_tokens: int
    shell_hash: str = Field(foreign_key="prompts.shell_hash")
    document_hash: str
    queued_ms: int = Field(sa_type=BigInt)
    estimate_nanousd: int | None = Field(sa_type=BigInt)
    held_nanousd: int | None = Field(sa_type=BigInt)
    """What budgets hold for it while it is open: likely enough, where `estimate_nanousd` is the most."""
    characters: int | None = Field(sa_type=BigInt)
    """Of the prompt: with the tokens billed they tell how many characters a token has."""
    day: str = Field(sa_column_kwargs={"server_default": text("''")})
    """Day in the configured time zone that it was sent, as `2026-11-22`: its cost is that day's."""
    state: str
    input_tokens: int | None = Field(sa_type=BigInt)
    cache_write_5m_tokens: int | None = Field(sa_type=BigInt)
    cache_write_1h_tokens: int | None = Field(sa_type=BigInt)
    cache_read_tokens: int | None = Field(sa_type=BigInt)
    output_tokens: int | None = Field(sa_type=BigInt)
    thinking_tokens: int | None = Field(sa_type=BigInt)
    cost_nanousd: int | None = Field(sa_type=BigInt)
    price_source: str | None
    price_version: str | None
    price_hash: str | None
    """Of the row in `prices` that it was priced by."""
    multipliers: dict[str, str] | None = Field(sa_type=Json)
    """What the rates were multiplied by, by name, where anything was: `{"long_prompt": "5"}`."""
    request_id: str | None
    status: int | None
    stop_reason: str | None
    fault: str | None
    first_byte_ms: int | None = Field(sa_type=BigInt)
    total_ms: int | None = Field(sa_type=BigInt)
    synthetic: bool
    sent_at: datetime = Field(sa_type=Utc, index=True)
    finished_at: datetime | None = Field(sa_type=Utc)
    text: str | None


class PriceRow(LedgerTable, table=True):
    """A price that calls were priced by; see `config.prices.Price`. Rates are exact: dollars have nine digits here."""

    __tablename__ = "prices"

    hash: str = Field(primary_key=True)
    """SHA-256 of all that follows but `created_at`, in hex."""
    model: str
    source: str
    version: str
    input_nanousd_per_mtok: int = Field(sa_type=BigInt)
    cache_write_5m_nanousd_per_mtok: int = Field(sa_type=BigInt)
    cache_write_1h_nanousd_per_mtok: int = Field(sa_type=BigInt)
    cache_read_nanousd_per_mtok: int = Field(sa_type=BigInt)
    output_nanousd_per_mtok: int = Field(sa_type=BigInt)
    long_prompt_tokens: int | None = Field(sa_type=BigInt)
    long_prompt_factor: str
    batch_factor: str
    us_only_factor: str
    created_at: datetime = Field(sa_type=Utc)


class DayRow(LedgerTable, table=True):
    """A day's total: the running day's as last counted, an ended one's as closed."""

    __tablename__ = "days"

    day: str = Field(primary_key=True)
    zone: str
    """IANA name of the time zone that said when it began and ended."""
    calls: int = Field(sa_type=BigInt)
    cost_nanousd: int = Field(sa_type=BigInt)
    unknown_calls: int = Field(sa_type=BigInt)
    unknown_estimate_nanousd: int = Field(sa_type=BigInt)
    open_calls: int = Field(sa_type=BigInt)
    """Sent, and not ended when it was counted."""
    uncertain_calls: int = Field(sa_type=BigInt)
    """In state `unknown` when it was counted: their answers may yet be found."""
    detail: dict[str, Any] | None = Field(sa_type=Json)
    """As `workers.ledger.days` writes and reads it."""
    counted_at: datetime = Field(sa_type=Utc)
    closed_at: datetime | None = Field(sa_type=Utc)


class BudgetRow(LedgerTable, table=True):
    """What may be spent. A hard limit stops, a soft one only tells."""

    __tablename__ = "budgets"

    scope: str = Field(primary_key=True)
    """`day`, `recipe` (each day) or `submission` (in all)."""
    name: str = Field(primary_key=True)
    """Of the recipe, or id of the submission; empty for the day's."""
    hard_nanousd: int | None = Field(sa_type=BigInt)
    soft_nanousd: int | None = Field(sa_type=BigInt)
    set_at: datetime = Field(sa_type=Utc)
    set_by: str


class BudgetUseRow(LedgerTable, table=True):
    """What a budget has used, kept in the transactions that open and end its calls."""

    __tablename__ = "budget_use"

    scope: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    day: str = Field(primary_key=True)
    """Empty for a submission's."""
    spent_nanousd: int = Field(sa_type=BigInt)
    """Of ended calls; where a cost is unknown, its estimate."""
    held_nanousd: int = Field(sa_type=BigInt)
    """For open calls."""
    refused_at: datetime | None = Field(sa_type=Utc)
    """When a call was last refused that only another day or a higher limit lets through."""


class AlertRow(LedgerTable, table=True):
    """Something a person should know. Its key keeps it from being told twice."""

    __tablename__ = "alerts"

    id: str = Field(primary_key=True)
    key: str = Field(unique=True)
    kind: str
    subject: str
    body: str
    detail: dict[str, Any] | None = Field(sa_type=Json)
    created_at: datetime = Field(sa_type=Utc)


class DeliveryRow(LedgerTable, table=True):
    """An alert on its way through one channel."""

    __tablename__ = "deliveries"
    __table_args__ = (Index("ix_deliveries_next_at", "next_at"),)

    alert_id: str = Field(primary_key=True, foreign_key="alerts.id")
    channel: str = Field(primary_key=True)
    """Name of the channel in the settings, never its address: that holds secrets."""
    tries: int
    next_at: datetime | None = Field(sa_type=Utc)
    """None: sent, or given up."""
    sent_at: datetime | None = Field(sa_type=Utc)
    error: str | None


class EventRow(LedgerTable, table=True):
    """What happened to a job, for people. Never a document's text."""

    __tablename__ = "job_events"

    id: int | None = Field(default=None, primary_key=True, sa_type=BigInt)
    job_id: str = Field(foreign_key="jobs.id", index=True)
    at: datetime = Field(sa_type=Utc)
    kind: str
    attempt: int
    generation: int
    detail: dict[str, Any] | None = Field(sa_type=Json)


class WorkerRow(LedgerTable, table=True):
    """A worker process, by an id made when it started. One not seen for long has lost its jobs."""

    __tablename__ = "workers"

    id: str = Field(primary_key=True)
    host: str
    pid: int
    started_at: datetime = Field(sa_type=Utc)
    seen_at: datetime = Field(sa_type=Utc)
    lost_at: datetime | None = Field(sa_type=Utc)
    """When it was found dead. One that stops in order leaves no row."""


class SlotRow(LedgerTable, table=True):
    """The last turn of something that is done once each interval, whoever comes first."""

    __tablename__ = "slots"

    name: str = Field(primary_key=True)
    slot: int = Field(sa_type=BigInt)
    """Intervals since 1970."""


submissions: Table = METADATA.tables["submissions"]
documents: Table = METADATA.tables["documents"]
recipes: Table = METADATA.tables["recipes"]
jobs: Table = METADATA.tables["jobs"]
items: Table = METADATA.tables["items"]
prompts: Table = METADATA.tables["prompts"]
calls: Table = METADATA.tables["calls"]
prices: Table = METADATA.tables["prices"]
days: Table = METADATA.tables["days"]
budgets: Table = METADATA.tables["budgets"]
budget_use: Table = METADATA.tables["budget_use"]
alerts: Table = METADATA.tables["alerts"]
deliveries: Table = METADATA.tables["deliveries"]
job_events: Table = METADATA.tables["job_events"]
workers: Table = METADATA.tables["workers"]
slots: Table = METADATA.tables["slots"]
