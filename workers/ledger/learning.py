"""The newest answered calls, to learn from what is likely: see `tasks.rules.expecting`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, case, func, select

from tasks.model.call import CallState
from tasks.rules.expecting import Sample
from workers.ledger.database import Database
from workers.ledger.tables import calls, documents, jobs

_READ = (
    *("job_id", "document_hash", "sent_at", "finished_at", "state", "synthetic", "model", "max_tokens", "characters"),
    *("input_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "cache_read_tokens", "output_tokens"),
)


@dataclass(frozen=True, slots=True)
class PastCall:
    """An answered call."""

    job_id: str
    sent_at: datetime
    finished_at: datetime
    sample: Sample

    @property
    def took_s(self) -> float:
        """From the note that it is about to be sent to its settlement."""
        return (self.finished_at - self.sent_at).total_seconds()


def recent_samples(database: Database, newest: int, *, synthetic: bool | None = None) -> list[PastCall]:
    """Those of the `newest` calls that were answered and whose prompt's length is known, the oldest first.

    `synthetic` keeps it to the simulator's answers, or to Claude's. Reads `newest` rows at most by an index, and the
    bytes of no document. Raises `LedgerError`.
    """
    # The limit comes before the conditions: a storm of failed calls must not make the database search for answers.
    last = select(*(calls.c[name] for name in _READ)).order_by(calls.c.sent_at.desc()).limit(newest).subquery()
    is_scan = case((and_(documents.c.media_type == "application/pdf", documents.c.text.is_(None)), 1), else_=0)
    written = (func.coalesce(last.c[f"cache_write_{kept}_tokens"], 0) for kept in ("5m", "1h"))
    uncached = sum(written, last.c.input_tokens)
    wanted = (
        select(
            *(last.c.job_id, last.c.sent_at, last.c.finished_at),
            *(jobs.c.recipe_hash, last.c.model, last.c.max_tokens, is_scan, last.c.characters),
            *(uncached, func.coalesce(last.c.cache_read_tokens, 0), last.c.output_tokens),
        )
        .join(jobs, jobs.c.id == last.c.job_id)
        .join(documents, documents.c.hash == last.c.document_hash)
        .where(
            last.c.state == CallState.ANSWERED.value,
            last.c.finished_at.is_not(None),
            last.c.characters > 0,
            last.c.input_tokens.is_not(None),
            last.c.output_tokens.is_not(None),
        )
        .order_by(last.c.sent_at)
    )
    if synthetic is not None:
        wanted = wanted.where(last.c.synthetic.is_(synthetic))

    def read(connection: Connection) -> list[PastCall]:
        return [
            PastCall(job_id, sent_at, finished_at, Sample(recipe_hash, model, room, bool(scan), *counts))
            for job_id, sent_at, finished_at, recipe_hash, model, room, scan, *counts in connection.execute(wanted)
        ]

    return database.read(read)
