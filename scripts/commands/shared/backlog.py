"""The lanes as they stand: what the broker holds, what waits in the ledger, the limits, and how long it will take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from config.catalogue import Catalogue
from tasks.rules.feeding import seconds_left
from tasks.rules.limiting import Amounts
from workers.ledger import Database, living, recent, waiting

if TYPE_CHECKING:
    import redis

    from workers.limiter import LimitStatus
    from workers.transport import Pause

KINDS = ("requests", "input", "output")
MINUTE_S = 60.0


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
    """Until all of this has ended, at the rate of the last minute, or that of the limit; None where none is known."""

    @property
    def left(self) -> int:
        """Jobs that have not ended."""
        return self.in_flight + self.ready + self.waiting + self.delayed


def read_lanes(client: redis.Redis, database: Database, catalogue: Catalogue, alive_s: float) -> list[LaneLine]:
    """All lanes. `alive_s`: a worker not seen for so long has no slots. Raises a Redis error, or `LedgerError`."""
    from workers.limiter import read_limits
    from workers.transport import Pauses, depths

    queues = list(catalogue.queues)
    routed = {catalogue.lanes[complexity].queue: model for complexity, model in catalogue.routes.items()}
    found, paused, limits = depths(client, queues), Pauses(client).read(queues), read_limits(client)
    workers, behind, lately = living(database, alive_s), waiting(database, queues), recent(database)
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
                seconds_left=None if lane in paused else _seconds_left(left, lately.get(lane), limit),
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


def _seconds_left(jobs: int, lately: tuple[int, float] | None, limit: Limit | None) -> float | None:
    """By what was sent in the last minute; before anything was, by the requests that the limit lets through."""
    if lately is not None:
        return seconds_left(jobs, *lately)
    return seconds_left(jobs, int(limit.limit.requests * limit.share) if limit else 0, MINUTE_S)
