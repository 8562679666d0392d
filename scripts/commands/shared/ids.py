"""Which submission or job is meant: by its id, by the beginning of one that no other has, or `latest`."""

from __future__ import annotations

from scripts.commands.shared.mistakes import Mistake
from workers.ledger import Database, jobs_beginning, submissions, submissions_beginning

LATEST = "latest"
NO_IDS = frozenset({"", "job-", "sub-"})
"""What every id begins with, which a script says whose variable is empty: it means none, were there only one."""


def find_submission(database: Database, said: str | None) -> str:
    """The submission's full id; None and `latest` mean the newest. Raises `Mistake`."""
    if said in (None, LATEST):
        newest = submissions(database, limit=1)
        if not newest:
            raise Mistake("nothing was submitted yet: start with `docmill run PATH`")
        return newest[0].id
    return _only("submission", said, submissions_beginning(database, said), "`docmill status` lists them")


def find_job(database: Database, said: str) -> str:
    """The job's full id. Raises `Mistake`."""
    return _only("job", said, jobs_beginning(database, said), "`docmill results` lists them")


def find_any(database: Database, said: str) -> str:
    """The full id of a submission or a job; which of the two, its prefix says. Raises `Mistake`."""
    if said == LATEST:
        return find_submission(database, said)
    found = [*submissions_beginning(database, said), *jobs_beginning(database, said)]
    return _only("submission or job", said, found, "`docmill status` and `docmill results` list them")


def _only(kind: str, said: str, found: list[str], way_out: str) -> str:
    if not found or said in NO_IDS:
        raise Mistake(f"no {kind} {said!r}: {way_out}")
    if len(found) > 1:
        raise Mistake(f"{kind} {said!r} may be {found[0]} or {found[1]}: give more of it")
    return found[0]
