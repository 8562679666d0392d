"""The ledger: where jobs, their calls and their cost are true, in SQLite or PostgreSQL.

For submitters: `open_database`, `begin_submission`, `add`, `mark_published`, `cancel_jobs`, `cancel_submission`.
For readers: `progress`, `summary`, `results`, `story`, `prompt`, `costs`, `health`, `submissions`, `read_days`,
`read_alerts`.
For whoever decides about dead letters: `read_letters`, `group_letters`, `states_of`, `causes`, `replay_letters`,
`replace_letters`, `discard_letters`, `expire_letters`.
For whoever decides about money: `set_budget`, `remove_budget`, `budgets_now`, `recount`.
For workers: `GroupedLedger`, which meets `tasks.ports.Ledger`.
"""

from workers.ledger.books import Books
from workers.ledger.budgets import OBEYED_AFTER_S, budgets_now, recount, remove_budget, set_budget
from workers.ledger.cancelling import Cancelled, cancel_jobs, cancel_submission
from workers.ledger.database import Database
from workers.ledger.days import DayLine, read_days
from workers.ledger.errors import LedgerAway, LedgerError
from workers.ledger.estimates import keep_estimate, known_keys
from workers.ledger.grouped import GroupedLedger
from workers.ledger.ids import new_id
from workers.ledger.learning import PastCall, recent_samples
from workers.ledger.letters import (
    Cause,
    Letter,
    LetterFilter,
    LetterGroup,
    causes,
    group_letters,
    read_letters,
    states_of,
)
from workers.ledger.line import Barred, barred, in_line, living, next_in_s, recent, waiting
from workers.ledger.migrating import open_database
from workers.ledger.outbox import AlertLine, DeliveryLine, read_alerts
from workers.ledger.outcomes import (
    Result,
    SubmissionLine,
    Summary,
    progress,
    results,
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
    replace_letters,
    replay_letters,
)
from workers.ledger.spending import CostBy, CostLine, Spent, costs
from workers.ledger.stories import CallLine, EventLine, FaultLine, JobLine, Story, jobs_beginning, prompt, story
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
from workers.ledger.vitals import Health, health

__all__ = [
    "OBEYED_AFTER_S",
    "Added",
    "Again",
    "AlertLine",
    "Anew",
    "Barred",
    "Books",
    "CallLine",
    "Cancelled",
    "Cause",
    "CostBy",
    "CostLine",
    "Database",
    "DayLine",
    "DeliveryLine",
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
    "PastCall",
    "Published",
    "Replayed",
    "Result",
    "Spent",
    "Story",
    "SubmissionLine",
    "Summary",
    "Upkeep",
    "add",
    "barred",
    "begin_submission",
    "budgets_now",
    "cancel_jobs",
    "cancel_submission",
    "causes",
    "costs",
    "discard_letters",
    "expire_letters",
    "group_letters",
    "health",
    "in_line",
    "job_key",
    "jobs_beginning",
    "keep_estimate",
    "known_keys",
    "living",
    "mark_published",
    "new_id",
    "next_in_s",
    "open_database",
    "progress",
    "prompt",
    "read_alerts",
    "read_days",
    "read_letters",
    "recent",
    "recent_samples",
    "recount",
    "remove_budget",
    "replace_letters",
    "replay_letters",
    "results",
    "set_budget",
    "states_of",
    "story",
    "submissions",
    "submissions_beginning",
    "summary",
    "waiting",
]
