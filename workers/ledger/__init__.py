"""The ledger: where jobs, their calls and their cost are true, in SQLite or PostgreSQL.

For submitters: `open_database`, `begin_submission`, `add`, `mark_published`, `cancel_jobs`, `cancel_submission`.
For readers: `progress`, `summary`, `results`, `story`, `prompt`, `costs`, `health`, `submissions`.
For whoever decides about dead letters: `read_letters`, `group_letters`, `causes`, `replay_letters`, `replace_letters`,
`discard_letters`, `expire_letters`.
For workers: `GroupedLedger`, which meets `tasks.ports.Ledger`.
"""

from workers.ledger.cancelling import Cancelled, cancel_jobs, cancel_submission
from workers.ledger.database import Database
from workers.ledger.errors import LedgerAway, LedgerError
from workers.ledger.grouped import GroupedLedger
from workers.ledger.ids import new_id
from workers.ledger.letters import Cause, Letter, LetterFilter, LetterGroup, causes, group_letters, read_letters
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
from workers.ledger.replaying import (
    Again,
    Anew,
    Replayed,
    discard_letters,
    expire_letters,
    left_behind,
    replace_letters,
    replay_letters,
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
from workers.ledger.upkeep import Upkeep

__all__ = [
    "Added",
    "Again",
    "Anew",
    "CallLine",
    "Cancelled",
    "Cause",
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
    "Letter",
    "LetterFilter",
    "LetterGroup",
    "NewDocument",
    "NewItem",
    "Published",
    "Replayed",
    "Result",
    "Spent",
    "Story",
    "SubmissionLine",
    "Summary",
    "Upkeep",
    "add",
    "begin_submission",
    "cancel_jobs",
    "cancel_submission",
    "causes",
    "costs",
    "discard_letters",
    "expire_letters",
    "group_letters",
    "health",
    "job_key",
    "jobs_beginning",
    "left_behind",
    "mark_published",
    "new_id",
    "open_database",
    "progress",
    "prompt",
    "read_letters",
    "replace_letters",
    "replay_letters",
    "results",
    "story",
    "submissions",
    "submissions_beginning",
    "summary",
]
