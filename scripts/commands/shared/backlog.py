"""The lanes as they stand: what the broker holds, what waits in the ledger, the limits, and how long it will take."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from config.catalogue import Catalogue
from tasks.model.budget import Scope
from tasks.rules.budget import is_spent
from tasks.rules.days import day_of
from tasks.rules.feeding import SHORTEST_S, seconds_left
from tasks.rules.limiting import Amounts, calls_per_s
from workers.ledger import (
    Database,
    JobLine,
    PastCall,
    budgets_now,
    in_line,
    living,
    recent,
    recent_samples,
    story,
    waiting,
)

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    import redis

    from workers.limiter import LimitStatus
    from workers.transport import Pause

KINDS = ("requests", "input", "output")
MINUTE_S = 60.0
PAST_CALLS = 1_000
"""Newest calls of the ledger that tell what the next ones will be."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What a lane's class of models may use in a minute, over all keys, and uses; with other lanes of that class."""

    limit: Amounts
    """0 where not known."""
    used: Amounts
    """In the last minute, about."""
    share: float
    """Of the limit that is gone for now."""

    @property
    def tightest(self) -> tuple[str, float, float] | None:
        """(kind, used, limit) of the one that is used most; None while none is known."""
        known = [(kind, used, most) for kind, used, most in zip(KINDS, self.used, self.limit, strict=True) if most > 0]
        return max(known, key=lambda each: each[1] / each[2], default=None)


@dataclass(frozen=True, slots=True)
class Typical:
    """A model's calls as they were on average."""

    call_s: float
    used: Amounts


@dataclass(frozen=True, slots=True)
class LaneLine:
    """A lane as it stands, over all workers."""

    lane: str
    model: str | None
    """It is routed to; None takes jobs of any."""
    slots: int
    """Jobs that the workers alive may run at once."""
    in_flight: int
    """Messages that workers hold: mostly jobs that run."""
    ready: int
    """Messages in the broker that a worker may take."""
    waiting: int
    """Jobs in the ledger, for their turn or their time."""
    delayed: int
    """Retries that wait for their time, in the broker."""
    limit: Limit | None
    """None while nothing is known of it."""
    pause: Pause | None
    seconds_left: float | None
    """Until all of this has ended, at the rate of the last minute, or at that of slots and limits; None where none is
    known, and while it is paused or a budget refuses its jobs."""

    @property
    def left(self) -> int:
        """Jobs that have not ended."""
        return self.in_flight + self.ready + self.waiting + self.delayed


def read_lanes(
    client: redis.Redis, database: Database, catalogue: Catalogue, alive_s: float, zone: ZoneInfo
) -> list[LaneLine]:
    """All lanes. Raises a Redis error, or `LedgerError`.

    `alive_s`: a worker not seen for so long has no slots. `zone` says which day it is for budgets.
    """
    from workers.limiter import read_limits
    from workers.transport import Pauses, depths

    queues = list(catalogue.queues)
    routed = {catalogue.lanes[complexity].queue: model for complexity, model in catalogue.routes.items()}
    found, paused, limits = depths(client, queues), Pauses(client).read(queues), read_limits(client)
    workers, behind, lately = living(database, alive_s), waiting(database, queues), recent(database)
    spent, typical = _Spent(database, day_of(database.now(), zone)), _typical(database)
    lines = []
    for lane, slots in catalogue.queues.items():
        model = routed.get(lane)
        limit = _limit(limits, catalogue.limit_class(model)) if model else None
        depth, jobs = found[lane], behind[lane]
        left = sum(depth.ready.values()) + depth.delayed + depth.unacked + jobs
        lines.append(
            LaneLine(
                lane=lane,
                model=model,
                slots=workers * slots,
                in_flight=depth.unacked,
                ready=sum(depth.ready.values()),
                waiting=jobs,
                delayed=depth.delayed,
                limit=limit,
                pause=paused.get(lane),
                seconds_left=None
                if lane in paused or (left and spent.refuses(lane, is_flowing=lane in lately))
                else _seconds_left(left, lately.get(lane), workers * slots, typical.get(model or ""), limit),
            )
        )
    return lines


def _limit(found: list[LimitStatus], limit_class: str) -> Limit | None:
    ours = [each for each in found if each.limit_class == limit_class]
    if not ours:
        return None
    return Limit(
        limit=Amounts(*(sum(kind) for kind in zip(*(each.limits for each in ours), strict=True))),
        used=Amounts(*(sum(kind) for kind in zip(*(each.used for each in ours), strict=True))),
        share=sum(each.share for each in ours) / len(ours),
    )


def _seconds_left(
    jobs: int, lately: tuple[int, float] | None, slots: int, typical: Typical | None, limit: Limit | None
) -> float | None:
    """By what was sent in the last minute; before anything was, by what slots and the tightest limit let through."""
    if lately is not None or not jobs:
        return seconds_left(jobs, *(lately or (0, 0.0)))
    if typical is None or not slots:
        return None
    per_s = [slots / max(SHORTEST_S, typical.call_s)]
    if limit is not None:
        rate = Amounts(*(each * limit.share / MINUTE_S for each in limit.limit))
        per_s.append(calls_per_s(rate, typical.used))
    return jobs / min(per_s)


def _typical(database: Database) -> dict[str, Typical]:
    """By model, what the newest calls were like."""
    found: defaultdict[str, list[PastCall]] = defaultdict(list)
    for call in recent_samples(database, PAST_CALLS):
        found[call.sample.model].append(call)
    return {
        model: Typical(
            call_s=fmean(call.took_s for call in past),
            used=Amounts(1, fmean(call.sample.uncached for call in past), fmean(call.sample.output for call in past)),
        )
        for model, past in found.items()
    }


class _Spent:
    """The budgets that are spent, and whether a lane's jobs wait for one of them: it is not told when they go on."""

    def __init__(self, database: Database, day: str) -> None:
        self._database = database
        self._names = {(each.scope, each.name) for each in budgets_now(database, day) if is_spent(each)}

    def refuses(self, lane: str, *, is_flowing: bool) -> bool:
        """Whether it does, or may well: where nothing of the lane `is_flowing`, or jobs of it are first in line."""
        if not self._names or (Scope.DAY, "") in self._names:
            return bool(self._names)
        return not is_flowing or any(
            not self._names.isdisjoint({(Scope.SUBMISSION, job.submission_id), (Scope.RECIPE, job.recipe)})
            for job in self._first(lane)
        )

    def _first(self, lane: str) -> list[JobLine]:
        """The first in line of each priority. What is refused comes to stand there, whatever else is fed."""
        messages = [message for first in in_line(self._database, lane, 1).values() for message in first]
        found = [story(self._database, message.job_id) for message in messages]
        return [each.job for each in found if each is not None]
