"""The ledger: where jobs, their calls and their cost are true, in SQLite or PostgreSQL.

For submitters: `open_database`, `begin_submission`, `add`, `mark_published`, `cancel_jobs`, `cancel_submission`.
For readers: `progress`, `summary`, `results`, `story`, `prompt`, `costs`, `health`, `submissions`.
For workers: `GroupedLedger`, which meets `tasks.ports.Ledger`.
"""

from workers.ledger.cancelling import Cancelled, cancel_jobs, cancel_submission
from workers.ledger.database import Database
from workers.ledger.errors import LedgerAway, LedgerError
from workers.ledger.grouped import GroupedLedger
from workers.ledger.ids import new_id
from workers.ledger.migrating import open_database
from workers.ledger.reading import (
    CallLine,
    EventLine,
    FaultLine,
    Health,
    JobLine,
    Result,
    Story,
    SubmissionLine,
    Summary,
    health,
    jobs_beginning,
    progress,
    prompt,
    results,
    story,
    submissions,
    submissions_beginning,
    summary,
)
from workers.ledger.spending import CostBy, CostLine, Spent, costs
from workers.ledger.submitting import (
    Added,
    NewDocument,
    NewItem,
    Published,
    add,
    begin_submission,
    job_key,
    mark_published,
)

__all__ = [
    "Added",
    "CallLine",
    "Cancelled",
    "CostBy",
    "CostLine",
    "Database",
    "EventLine",
    "FaultLine",
    "GroupedLedger",
    "Health",
    "JobLine",
    "LedgerAway",
    "LedgerError",
    "NewDocument",
    "NewItem",
    "Published",
    "Result",
    "Spent",
    "Story",
    "SubmissionLine",
    "Summary",
    "add",
    "begin_submission",
    "cancel_jobs",
    "cancel_submission",
    "costs",
    "health",
    "job_key",
    "jobs_beginning",
    "mark_published",
    "new_id",
    "open_database",
    "progress",
    "prompt",
    "results",
    "story",
    "submissions",
    "submissions_beginning",
    "summary",
]
