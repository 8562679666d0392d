"""When to try again, when to wait for better times, and when to stop.

Decides only. `tasks.document` turns a verdict into a message, a paused lane or a dead letter.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from tasks.model.fault import (
    BadOutput,
    BillingStopped,
    Blocked,
    Fault,
    NoRoom,
    OverBudget,
    Overloaded,
    PdfFailed,
    PoolFull,
    RateLimited,
    SpendCap,
    Throttled,
    TimedOut,
    Transient,
    Truncated,
    Unauthorized,
    UnknownModel,
    Unreachable,
)
from tasks.model.job import Job
from tasks.model.verdict import Bury, Park, RetryIn, Verdict
from tasks.rules import budget
from tasks.rules.limiting import RAMP_CODE
from tasks.rules.parking import storm_pause_s

UTC = ZoneInfo("UTC")
LONGEST_WAIT_S = 300.0
FIRST_WAIT_S = 2.0
FIRST_OVERLOAD_WAIT_S = 5.0
POOL_WAIT_S = 1.0
"""A connection of our own is free again as soon as a call ends."""

MOST_TRIES: dict[type[Fault], int] = {TimedOut: 2, Truncated: 2, BadOutput: 2, PdfFailed: 2}
"""Tries that may end in this kind of fault. Each was paid for, or may have been, or would fail so again."""

RATE_PAUSE_S = 5.0
RAMP_PAUSE_S = 60.0
"""Where the server does not say how long."""
RATE_SPREAD_S = 3.0

BLOCK_PAUSES_S: dict[type[Fault], float] = {
    SpendCap: 3600.0,
    BillingStopped: 900.0,
    Unauthorized: 60.0,  # the next look is free: `Claude.probe`
    UnknownModel: 900.0,
}
"""Between two looks at whether a person or a date has lifted a block."""
OTHER_BLOCK_PAUSE_S = 60.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far we go."""

    max_attempts: int
    """Tries that count before a job is buried."""
    max_throttles: int
    """Times a job may be told to wait before it is buried."""
    longest_pause_s: float
    """A blocked lane is tried again at least so often."""
    zone: ZoneInfo = UTC
    """That says when a day, and its budget, ends."""


def judge(
    fault: Fault, job: Job, bounds: Bounds, *, storm: bool, now: datetime, draw: float, paced: bool = False
) -> Verdict:
    """What follows from a fault.

    Args:
        fault: Why the attempt failed.
        job: As it was claimed: with its tries, waits and faults before this one.
        bounds: How far we go.
        storm: Whether most calls of the job's lane find Claude overloaded just now.
        now: The moment, in UTC.
        draw: Chance, uniform over [0, 1).
        paced: Whether a rate limit that was met is taken care of for all, so that the lane need not stop.
    """
    match fault:
        case OverBudget():
            return Park(budget.wait_s(fault, now, bounds.zone, bounds.longest_pause_s, draw), fault)
        case Blocked():
            return Park(block_pause_s(fault, now, bounds.longest_pause_s), fault)
        case Throttled():
            return _told_to_wait(fault, job, bounds, storm=storm, draw=draw, paced=paced)
        case Transient():
            return _failed(fault, job, bounds, draw=draw)
        case _:
            return Bury(fault)


def _told_to_wait(fault: Fault, job: Job, bounds: Bounds, *, storm: bool, draw: float, paced: bool) -> Verdict:
    if isinstance(fault, NoRoom):
        return RetryIn(wait_s(1, fault.retry_after_s, draw), fault, counts=False)
    if job.throttles + 1 >= bounds.max_throttles:
        return Bury(fault)
    match fault:
        case RateLimited() if paced:
            return RetryIn(rate_pause_s(fault, draw), fault, counts=False)
        case RateLimited():
            return Park(rate_pause_s(fault, draw), fault)
        case PoolFull():
            return RetryIn(POOL_WAIT_S * draw, fault, counts=False)
        case Overloaded() | Unreachable() if storm:
            return Park(storm_pause_s(fault.retry_after_s, draw), fault)
        case _:
            return RetryIn(_backoff_s(fault, job, FIRST_OVERLOAD_WAIT_S, draw), fault, counts=False)


def _failed(fault: Fault, job: Job, bounds: Bounds, *, draw: float) -> Verdict:
    of_this_kind = job.faults.get(fault.kind, 0) + 1
    if job.attempt + 1 >= bounds.max_attempts or of_this_kind >= MOST_TRIES.get(type(fault), bounds.max_attempts):
        return Bury(fault)
    return RetryIn(_backoff_s(fault, job, FIRST_WAIT_S, draw), fault, counts=True)


def _backoff_s(fault: Fault, job: Job, first_s: float, draw: float) -> float:
    return wait_s(job.faults.get(fault.kind, 0) + 1, fault.retry_after_s, draw, first_s=first_s)


def wait_s(failures: int, retry_after_s: float | None, draw: float, *, first_s: float = FIRST_WAIT_S) -> float:
    """Full-jitter backoff after so many failures of this kind, or the server's wish and a little more, never less."""
    if retry_after_s is not None:
        return retry_after_s + draw * max(1.0, retry_after_s / 4)
    return draw * cap_s(failures, first_s)


def cap_s(failures: int, first_s: float = FIRST_WAIT_S) -> float:
    """Longest backoff after so many failures: 2, 4, 8 ... 300 seconds."""
    return min(LONGEST_WAIT_S, first_s * 2.0 ** (min(failures, 20) - 1))


def rate_pause_s(fault: Fault, draw: float) -> float:
    """How long a lane that is over a rate limit pauses; never less than the server asked."""
    asked = fault.retry_after_s
    if asked is None:
        asked = RAMP_PAUSE_S if fault.code == RAMP_CODE else RATE_PAUSE_S
    return asked + RATE_SPREAD_S * draw


def block_pause_s(fault: Fault, now: datetime, longest_s: float) -> float:
    """How long a blocked lane pauses: until the moment the server named, and no longer than until the next look."""
    pause_s = min(BLOCK_PAUSES_S.get(type(fault), OTHER_BLOCK_PAUSE_S), longest_s)
    if fault.retry_after_s:
        return min(pause_s, fault.retry_after_s)
    return min(pause_s, _to_next_month_s(now)) if isinstance(fault, SpendCap) else pause_s


def _to_next_month_s(now: datetime) -> float:
    """To 00:00 UTC on the 1st, when a month's spend begins anew."""
    year, month = (now.year + 1, 1) if now.month == 12 else (now.year, now.month + 1)
    return (datetime(year, month, 1, tzinfo=now.tzinfo) - now).total_seconds()
