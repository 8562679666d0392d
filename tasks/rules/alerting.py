"""What a person should be told of, by what is seen of the day and of the lanes.

Decides only, and gives the same trouble the same key: `tasks.spending` looks, and the ledger keeps each key from being
told twice. An alert says the number, the limit and what to run next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from statistics import median

from tasks.model.alert import Alert
from tasks.model.budget import BudgetNow
from tasks.model.day import ClosedDay, Count, Total, Trouble
from tasks.model.fault import Blocked, OverBudget
from tasks.model.standing import Stopped
from tasks.rules.budget import is_exhausted, named
from tasks.rules.days import day_before
from tasks.rules.pricing import dollars

DEAD_LETTERS = "dead_letters"
"""Kind of an alert after which dead letters are counted anew."""
FEWEST_DAYS = 5
"""A median of fewer days says little."""
PASSES_S = 600.0
"""A lane that rests by itself, as in a storm of 529s, is worth a person's night only after so long."""
RETIREMENT_DAYS = (30, 7, 1, 0)
"""Days before a model's retirement on which it is told of."""
NEEDS_A_PERSON = frozenset(kind.__name__ for kind in Blocked.__subclasses__())
"""Faults that stop a lane until somebody, or a date, does something."""


@dataclass(frozen=True, slots=True)
class AlertBounds:
    """What is worth telling, from the settings; 0, or nothing, tells of none."""

    soft_percent: tuple[int, ...] = (50, 80, 100)
    unusual_factor: float = 3
    dead_letters: int = 50
    queue_age_s: float = 3600
    digest: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is to see at one moment."""

    now: datetime
    today: Count
    earlier: Sequence[Count] = ()
    """Days that were counted just now, the oldest first: yesterday while it is not closed, more where nobody looked."""
    budgets: Sequence[BudgetNow] = ()
    """As they stand on these days."""
    closed: Sequence[ClosedDay] = ()
    """The last closed days, the newest first."""
    stopped: Mapping[str, Stopped] = field(default_factory=dict)
    """Lanes that are paused."""
    trouble: Trouble = field(default_factory=Trouble)
    retirements: Mapping[str, date] = field(default_factory=dict)
    """Day of retirement of each model in use that has one."""

    @property
    def days(self) -> list[Count]:
        """Those that calls may have been added to since the last look."""
        return [*self.earlier, self.today]


def alerts_for(seen: Seen, bounds: AlertBounds) -> list[Alert]:
    """Everything worth telling now, each key once; most of it was told before, and the ledger knows."""
    found = (
        *budgets(seen, bounds),
        *unusual_days(seen, bounds),
        *unpriced_calls(seen),
        *stopped_lanes(seen),
        *dead_letters(seen, bounds),
        *old_queues(seen, bounds),
        *retirements(seen),
        *digest(seen, bounds),
    )
    first: dict[str, Alert] = {}
    for alert in found:
        first.setdefault(alert.key, alert)
    return list(first.values())


def budgets(seen: Seen, bounds: AlertBounds) -> Iterator[Alert]:
    """A hard budget that is used up, or too small for some calls; the highest threshold crossed of a soft one."""
    for budget in seen.budgets:
        if is_exhausted(budget):
            yield _hard_budget(budget)
        elif budget.refused_at is not None:
            yield _calls_that_wait(budget)
        if budget.soft_nanousd:
            percent = 100 * budget.spent_nanousd // budget.soft_nanousd
            crossed = [share for share in bounds.soft_percent if share <= percent]
            if crossed:
                yield _soft_budget(budget, max(crossed), percent)


def _hard_budget(budget: BudgetNow) -> Alert:
    limit = dollars(budget.hard_nanousd or 0)
    return Alert(
        key=f"budget.hard/{budget.scope}/{budget.name}/{budget.day}/{budget.hard_nanousd}",
        kind="budget.hard",
        subject=f"{_named(budget)}: {dollars(budget.spent_nanousd)} spent, no room under the hard limit of {limit}",
        body=f"{dollars(budget.held_nanousd)} more is held for calls under way. {_consequence(budget)} "
        "Nothing is lost.\nNext: docmill budget",
        detail=_budget_detail(budget),
    )


def _calls_that_wait(budget: BudgetNow) -> Alert:
    limit, spent = dollars(budget.hard_nanousd or 0), dollars(budget.spent_nanousd)
    return Alert(
        key=f"budget.call/{budget.scope}/{budget.name}/{budget.day}/{budget.hard_nanousd}",
        kind="budget.call",
        subject=f"{_named(budget)}: {spent} of {limit} spent, and a call waits that may cost more than the rest",
        body="So does one whose model has no price. Others go on, and nothing is lost. It goes when the budget is "
        "raised, or a new day has room for it.\nNext: docmill budget",
        detail=_budget_detail(budget),
    )


def _consequence(budget: BudgetNow) -> str:
    if budget.scope == "day":
        return "All lanes wait until the day turns or the budget is raised."
    if budget.scope == "recipe":
        return "Its jobs wait until the day turns or the budget is raised; others go on."
    return "Its jobs wait until the budget is raised; others go on."


def _soft_budget(budget: BudgetNow, share: int, percent: int) -> Alert:
    limit = dollars(budget.soft_nanousd or 0)
    spent = dollars(budget.spent_nanousd)
    return Alert(
        key=f"budget.soft/{budget.scope}/{budget.name}/{budget.day}/{share}/{budget.soft_nanousd}",
        kind="budget.soft",
        subject=f"{_named(budget)}: {spent} spent, {percent} % of the soft limit of {limit}",
        body=f"The threshold is {share} %. A soft limit stops nothing.\nNext: docmill costs --by model",
        detail={**_budget_detail(budget), "percent": percent, "threshold_percent": share},
    )


def _named(budget: BudgetNow) -> str:
    name = f"budget of {named(budget.scope, budget.name)}"
    return f"{name}, {budget.day}" if budget.day else name  # a submission's is for all its days


def _budget_detail(budget: BudgetNow) -> dict[str, object]:
    names = ("scope", "name", "hard_nanousd", "soft_nanousd", "spent_nanousd", "held_nanousd")
    return {name: getattr(budget, name) for name in names}


def unusual_days(seen: Seen, bounds: AlertBounds) -> Iterator[Alert]:
    """A day that already costs a multiple of what days do."""
    for count in seen.days if bounds.unusual_factor else ():
        before = [closed.total.cost_nanousd for closed in seen.closed if closed.day < count.day]
        usual = int(median(before)) if len(before) >= FEWEST_DAYS else 0
        cost = count.total.cost_nanousd
        if not 0 < usual * bounds.unusual_factor < cost:
            continue
        yield Alert(
            key=f"day.unusual/{count.day}",
            kind="day.unusual",
            subject=f"{count.day} costs {dollars(cost)} so far, {cost / usual:.1f} times the usual {dollars(usual)}",
            body=f"Usual is the median of {len(before)} days; the limit is {bounds.unusual_factor:g} times that. "
            f"{_most(count)}\nNext: docmill costs --by submission --since {count.day}",
            detail={"day": count.day, "cost_nanousd": cost, "median_nanousd": usual, "days": len(before)},
        )


def unpriced_calls(seen: Seen) -> Iterator[Alert]:
    """Calls whose cost nobody knows, since their model has no price."""
    for count in seen.days:
        for model, calls in count.unpriced.items():
            yield Alert(
                key=f"price.unknown/{model}/{count.day}",
                kind="price.unknown",
                subject=f"{calls:,} calls to {model} on {count.day} have no known cost: it has no price",
                body="They are in no total. Give the model a price in $DOCMILL_HOME/prices.toml.\nNext: docmill doctor",
                detail={"model": model, "day": count.day, "calls": calls},
            )


def stopped_lanes(seen: Seen) -> Iterator[Alert]:
    """Lanes that a fault has stopped; those that stopped together are told of together."""
    pauses: dict[tuple[str, datetime], list[str]] = {}
    for lane, stop in seen.stopped.items():
        if stop.fault:  # else a person's, who knows
            pauses.setdefault((stop.fault, stop.since), []).append(lane)
    for (fault, since), lanes in pauses.items():
        seconds = (seen.now - since).total_seconds()
        if fault == OverBudget.__name__ or (fault not in NEEDS_A_PERSON and seconds < PASSES_S):
            continue  # a budget tells of itself
        which = f"lane {lanes[0]} is" if len(lanes) == 1 else f"lanes {', '.join(sorted(lanes))} are"
        yield Alert(
            key=f"lane.parked/{fault}/{since.timestamp():.3f}",
            kind="lane.parked",
            subject=f"{which} stopped by {fault} since {since:%H:%M} UTC",
            body=f"{seen.stopped[lanes[0]].reason}\nJobs wait there and lose nothing.\nNext: docmill lanes",
            detail={"lanes": sorted(lanes), "fault": fault, "since": since.isoformat()},
        )


def dead_letters(seen: Seen, bounds: AlertBounds) -> Iterator[Alert]:
    """More dead letters within an hour than there should be."""
    letters, told = seen.trouble.dead_letters, seen.trouble.letters_told_at
    if not bounds.dead_letters or letters <= bounds.dead_letters:
        return
    yield Alert(
        key=f"{DEAD_LETTERS}/{told.isoformat() if told else 'first'}",
        kind=DEAD_LETTERS,
        subject=f"{letters:,} dead letters within an hour; the limit is {bounds.dead_letters:,}",
        body="Their jobs were given up and wait for a decision.\nNext: docmill dead",
        detail={"dead_letters": letters, "limit": bounds.dead_letters},
    )


def old_queues(seen: Seen, bounds: AlertBounds) -> Iterator[Alert]:
    """Lanes whose jobs wait for long, once a day."""
    for lane, since in seen.trouble.waiting_since.items():
        waited_s = (seen.now - since).total_seconds()
        if not bounds.queue_age_s or waited_s <= bounds.queue_age_s:
            continue
        yield Alert(
            key=f"queue.old/{lane}/{seen.today.day}",
            kind="queue.old",
            subject=f"lane {lane}: a job has waited {_minutes(waited_s)} for its first turn; "
            f"the limit is {_minutes(bounds.queue_age_s)}",
            body="Either more was submitted than the limits let through, or no worker takes from the lane.\n"
            "Next: docmill lanes",
            detail={"lane": lane, "waited_s": round(waited_s), "limit_s": bounds.queue_age_s},
        )


def retirements(seen: Seen) -> Iterator[Alert]:
    """Models in use that will answer no more, a month, a week and a day before, and on the day."""
    today = date.fromisoformat(seen.today.day)
    for model, retires_on in seen.retirements.items():
        left = (retires_on - today).days
        due = [days for days in RETIREMENT_DAYS if left <= days]
        if not due:
            continue
        when = f"retires in {left} days, on {retires_on}" if left > 0 else f"has retired on {retires_on}"
        yield Alert(
            key=f"model.retires/{model}/{retires_on}/{min(due)}",
            kind="model.retires",
            subject=f"{model}, to which jobs go, {when}",
            body="From then on its lanes stop. Route to another model in $DOCMILL_HOME/catalogue.toml and restart the "
            "workers.\nNext: docmill doctor",
            detail={"model": model, "retires_on": retires_on.isoformat(), "days_left": left},
        )


def digest(seen: Seen, bounds: AlertBounds) -> Iterator[Alert]:
    """Yesterday, and each day that was counted just now, once it is closed; again where its closing was corrected."""
    if not bounds.digest:
        return
    due = {day_before(seen.today.day), *(count.day for count in seen.earlier)}
    for closed in seen.closed:
        if closed.day not in due:
            continue
        total = closed.total
        corrected = f"/{closed.corrections}" if closed.corrections else ""
        lines = [f"{total.unknown_calls:,} calls of unknown cost, {dollars(total.unknown_estimate_nanousd)} at most."]
        if closed.synthetic_calls:
            lines.append(f"{closed.synthetic_calls:,} calls were answered by the simulator: nothing was paid for them.")
        yield Alert(
            key=f"day.digest/{closed.day}{corrected}",
            kind="day.digest",
            subject=f"{closed.day}: {dollars(total.cost_nanousd)} for {total.calls:,} calls"
            + (", corrected" if corrected else ""),
            body="\n".join([*lines, f"Next: docmill costs --by model --since {closed.day} --until {closed.day}"]),
            detail={"day": closed.day, "calls": total.calls, "cost_nanousd": total.cost_nanousd},
        )


def _most(count: Count) -> str:
    """`claude-haiku-4-5 has 80 % of it.`"""
    models: Mapping[str, Total] = count.by.get("model", {})
    name, total = max(models.items(), key=lambda pair: pair[1].cost_nanousd, default=("", Total()))
    cost = count.total.cost_nanousd
    return f"{name} has {100 * total.cost_nanousd // cost} % of it." if name and cost else ""


def _minutes(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"
