"""Whether a budget has room for a call, what a call counts toward it, and how long to wait where there is no room.

Decides only. `workers.ledger.budgets` keeps the counters, in the transactions that open and end calls.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from tasks.model.budget import BudgetNow, Scope, Share
from tasks.model.call import CallState
from tasks.model.fault import OverBudget
from tasks.rules.days import begin_of, day_after, day_of
from tasks.rules.pricing import dollars

ONE_CALL = "call"
"""Code of a refusal that concerns this call alone: smaller ones, or others of the day's, may well go on."""
UNPRICED = (
    "a hard limit lets no call go whose model has no price: give it one in prices.toml, and start the workers again"
)
FULL_PERCENT = 90
"""So much of a budget is in use before what it refuses stops every lane, or keeps its jobs in line."""
HELD_WAIT_S = 2.0
"""Calls under way end within seconds, and give back most of what is held for them."""
HELD_SPREAD_S = 8.0
"""Over so long the jobs spread that look again each for itself."""
LOOK_AGAIN_S = 60.0
"""A job that waits for a higher budget looks again at least so often."""
AFTER_MIDNIGHT_S = 1.0
"""Clocks differ a little, and a call that is early counts toward the day before."""


def share_of(state: str, *, held_nanousd: int | None, estimate_nanousd: int | None, cost_nanousd: int | None) -> Share:
    """What a call counts: what is held for it while it is open, then its cost, or the most it can be if not known."""
    if state == CallState.SENT:
        return Share(held_nanousd=held_nanousd or 0)
    known = estimate_nanousd if cost_nanousd is None else cost_nanousd
    return Share(spent_nanousd=known or 0)


def refusal(budget: BudgetNow, most_nanousd: int | None) -> OverBudget | None:
    """Why a call may not go out that costs so much at most; None where there is room.

    The call's most has to fit, though less is held: no call can overrun the limit by itself, and calls under way are
    reckoned with by what they are likely to cost. A call whose most nobody knows, since its model has no price, fits
    nowhere. `retry_after_s` is there where the room is merely held by calls under way.
    """
    hard = budget.hard_nanousd
    if hard is None:
        return None
    if most_nanousd is None:
        return OverBudget(f"budget of {named(budget.scope, budget.name)}: {UNPRICED}", code=ONE_CALL)
    most = most_nanousd
    if budget.spent_nanousd + budget.held_nanousd + most <= hard:
        return None
    is_held = budget.spent_nanousd + most <= hard
    used = budget.spent_nanousd + (budget.held_nanousd if is_held else 0)
    code = budget.scope
    if budget.scope == Scope.DAY and 100 * used < FULL_PERCENT * hard:
        code = ONE_CALL
    fault = OverBudget(_why(budget, hard, most), code=code, retry_after_s=HELD_WAIT_S if is_held else None)
    fault.day = budget.day
    return fault


def is_exhausted(budget: BudgetNow) -> bool:
    """Whether the hard limit leaves nothing to speak of for another call."""
    hard = budget.hard_nanousd
    return is_spent(budget) or (hard is not None and budget.spent_nanousd + budget.held_nanousd >= hard)


def is_spent(budget: BudgetNow) -> bool:
    """Whether jobs of this budget had better not be handed to workers: it has refused, and little of it is left."""
    hard = budget.hard_nanousd
    return hard is not None and budget.refused_at is not None and 100 * budget.spent_nanousd >= FULL_PERCENT * hard


def _why(budget: BudgetNow, hard: int, most: int) -> str:
    use = f"{dollars(budget.spent_nanousd)} of {dollars(hard)} spent, {dollars(budget.held_nanousd)} held"
    line = f"budget of {named(budget.scope, budget.name)}: {use}, and the call may cost {dollars(most)}"
    return f"{line}: more than the whole budget, so it waits until that is raised" if most > hard else line


def named(scope: str, name: str) -> str:
    """The budget for a person: `the day`, `recipe 'sort'`, `submission sub-1`."""
    return "the day" if scope == Scope.DAY else f"{scope} {name!r}" if scope == Scope.RECIPE else f"{scope} {name}"


def stops_all(fault: OverBudget) -> bool:
    """Whether every lane had better stop; otherwise only the job waits."""
    return fault.code == Scope.DAY


def wait_s(fault: OverBudget, now: datetime, zone: ZoneInfo, longest_s: float, draw: float) -> float:
    """How long the lanes, or the job alone, wait before the next look.

    Args:
        fault: A `refusal`.
        now: The moment, with its time zone.
        zone: That says when the day ends.
        longest_s: A stopped lane is tried again at least so often.
        draw: Chance, uniform over [0, 1).
    """
    if not stops_all(fault):
        if fault.retry_after_s is not None:
            return fault.retry_after_s + HELD_SPREAD_S * draw
        return LOOK_AGAIN_S * (1 + draw) / 2
    if fault.retry_after_s is not None:
        return fault.retry_after_s
    midnight = begin_of(day_after(fault.day or day_of(now, zone)), zone)  # which a call may have waited beyond
    return min(longest_s, max(0.0, (midnight - now).total_seconds()) + AFTER_MIDNIGHT_S * (1 + draw))
