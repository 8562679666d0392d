"""When to try again, and when to stop.

Decides only. `tasks.document` turns a verdict into a delayed message or a dead letter.
"""

from __future__ import annotations

from tasks.model.fault import Blocked, Fault, Permanent, Throttled, TimedOut
from tasks.model.verdict import Bury, RetryIn, Verdict

LONGEST_WAIT_S = 300.0
FIRST_WAIT_S = 2.0
BLOCKED_WAIT_S = 60.0
"""Between two looks at whether a person or a date has lifted a block."""
MOST_TIMEOUTS = 2
"""A call that fell silent twice will again, and each may have been billed."""


def judge(fault: Fault, *, attempt: int, throttles: int, max_attempts: int, max_throttles: int, draw: float) -> Verdict:
    """What follows from a fault.

    Args:
        fault: Why the attempt failed.
        attempt: Tries that counted, before this one.
        throttles: Times the job was told to wait, before this one.
        max_attempts: Tries that count before the job is buried.
        max_throttles: Times told to wait before the job is buried.
        draw: Chance, uniform over [0, 1).
    """
    if isinstance(fault, Permanent):
        return Bury(fault)
    if isinstance(fault, Blocked):
        return RetryIn(BLOCKED_WAIT_S * (1 + draw), fault, counts=False)
    if isinstance(fault, Throttled):
        if throttles + 1 >= max_throttles:
            return Bury(fault)
        return RetryIn(wait_s(throttles + 1, fault.retry_after_s, draw), fault, counts=False)
    tries = attempt + 1
    if tries >= max_attempts or (isinstance(fault, TimedOut) and tries >= MOST_TIMEOUTS):
        return Bury(fault)
    return RetryIn(wait_s(tries, fault.retry_after_s, draw), fault, counts=True)


def wait_s(failures: int, retry_after_s: float | None, draw: float) -> float:
    """Full-jitter backoff after so many failures of this kind, or the server's wish and a little more, never less."""
    if retry_after_s is not None:
        return retry_after_s + draw * max(1.0, retry_after_s / 4)
    return draw * cap_s(failures)


def cap_s(failures: int) -> float:
    """Longest backoff after so many failures: 2, 4, 8 ... 300 seconds."""
    return min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** (min(failures, 20) - 1))
