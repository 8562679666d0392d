"""A fleet's place in a rate limit: when a call's turn comes, what a 429 costs, how many calls are worth holding.

Decides only, and all times are given. `workers/limiter/limit.lua` does the same to the bucket that all workers share,
and is held to this module by its tests; a worker without Redis goes by it alone.

A bucket is reserved ahead: a call is debited when it asks, and told to wait until its amounts are there. The level may
be far below zero, and that is the queue: whoever asks later waits longer, and nobody is passed over for being large.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

from tasks.model.fault import Fault

RAMP_CODE = "ramp_limit_exceeded"
RATE_CUT, RAMP_CUT = 0.85, 0.7
"""What a 429 leaves of the rate."""
LEAST_FACTOR = 0.3
STEP, STEP_EVERY_S = 0.01, 5.0
"""So the rate comes back after a cut."""
DOUBLES_EVERY_S = 60.0
"""A slow start."""
FALL_EXPLAINS_S, FALL_EVERY_S = 10.0, 60.0
"""For so long after a limit was lowered a 429 says nothing of the new one: what met it was sent by the old one. At most
once in so long, lest a limit that goes up and down excuse every 429."""
LITTLE_LEFT = 0.1
"""Below this share of a limit, what the server says is left is believed."""
FULL_S = 1.1
"""What is larger than the server's bucket is let through by a full one. Ours is told to be full after so many seconds'
worth, of which the server keeps no more than one's."""
QUEUE_S = 2.0
"""So much work beyond what is under way keeps a limit in use while calls end and others are claimed."""
DEAD_BAND = 0.15
"""A number of slots so near to the one there is changes nothing."""


class Amounts(NamedTuple):
    """Of one call, of a limit per minute, of a level: what a rate limit counts."""

    requests: float = 0.0
    input: float = 0.0
    """Tokens: uncached, or written to the cache. Cache reads are free."""
    output: float = 0.0
    """Tokens really produced. `max_tokens` does not count."""


NOTHING = Amounts()


@dataclass(frozen=True, slots=True)
class Pace:
    """How a fleet goes about a limit."""

    share: float = 0.95
    """Of the limit: what arrives unevenly must still fit."""
    burst_s: float = 0.5
    """Seconds' worth that may go out at once after a rest. Limits per minute may be enforced by the second, and what
    was sent evenly may arrive bunched: the other half is for that."""
    credit_s: float = 1.0
    """Seconds' worth that calls may have left over of what was held for them: the server keeps no more for us."""
    slow_start: float = 0.1
    """Share that a new bucket begins with; it doubles each minute. 1: all of it."""
    longest_wait_s: float = 20.0
    """A call whose turn is further off had better wait in the broker."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """What is known of one key's limits for one class of models. Times are unix seconds."""

    at: float
    """The level is of this moment; in the future while the bucket is paused."""
    born_at: float
    limits: Amounts = NOTHING
    """Per minute. 0: not known, and no reason to wait."""
    level: Amounts = NOTHING
    """A new bucket is empty: what went out before it was made nobody knows."""
    factor: float = 1.0
    """What 429s have left of the rate."""
    stepped_at: float = 0.0
    """When `factor` last changed."""
    paused_until: float = 0.0
    fell_at: float = -math.inf
    """When the server last lowered a limit."""


def rates(bucket: Bucket, pace: Pace, now: float) -> Amounts:
    """Per second, as the fleet goes for it now."""
    started = min(1.0, pace.slow_start * 2.0 ** min(64.0, max(0.0, now - bucket.born_at) / DOUBLES_EVERY_S))
    return Amounts(*(limit * pace.share * bucket.factor * started / 60 for limit in bucket.limits))


def bursts(rate: Amounts, pace: Pace) -> Amounts:
    """The most that a bucket holds: at least one request."""
    return Amounts(max(1.0, rate.requests * pace.burst_s), rate.input * pace.burst_s, rate.output * pace.burst_s)


def most_credit(rate: Amounts, pace: Pace) -> Amounts:
    """The most that the server keeps for us."""
    return Amounts(*(max(burst, each * pace.credit_s) for burst, each in zip(bursts(rate, pace), rate, strict=True)))


def fulls(rate: Amounts, pace: Pace) -> Amounts:
    """What a call needs that is larger."""
    return Amounts(*(max(burst, each * FULL_S) for burst, each in zip(bursts(rate, pace), rate, strict=True)))


def refilled(bucket: Bucket, pace: Pace, now: float) -> Bucket:
    """The bucket as it is now; while it is paused nothing comes in."""
    steps = math.floor((now - bucket.stepped_at) / STEP_EVERY_S)
    if bucket.factor < 1.0 and steps > 0:
        stepped_at = bucket.stepped_at + steps * STEP_EVERY_S
        bucket = replace(bucket, factor=min(1.0, bucket.factor + steps * STEP), stepped_at=stepped_at)
    if now <= bucket.at:
        return bucket
    rate = rates(bucket, pace, now)
    burst = bursts(rate, pace)
    level = (min(burst[n], bucket.level[n] + (now - bucket.at) * rate[n]) for n in range(3))
    return replace(bucket, at=now, level=Amounts(*level))


def taught(bucket: Bucket, limits: Amounts, now: float) -> Bucket:
    """The bucket with the limits that the server names, 0 where it names none. The first ones begin a slow start."""
    merged = Amounts(*(new or old for new, old in zip(limits, bucket.limits, strict=True)))
    if merged == bucket.limits:
        return bucket
    level = Amounts(*(level if old else 0.0 for level, old in zip(bucket.level, bucket.limits, strict=True)))
    is_fall = any(new < old for new, old in zip(merged, bucket.limits, strict=True))
    return replace(
        bucket,
        limits=merged,
        level=level,
        born_at=bucket.born_at if any(bucket.limits) else now,
        fell_at=now if is_fall and now - bucket.fell_at >= FALL_EVERY_S else bucket.fell_at,
    )


def charged(bucket: Bucket, used: Amounts) -> Bucket:
    """Less what was used without having been reserved; more, where it is below zero."""
    return replace(bucket, level=Amounts(*(bucket.level[n] - used[n] for n in range(3))))


def capped(bucket: Bucket, unsent: Amounts, pace: Pace, now: float) -> Bucket:
    """No fuller than the server's can be, to whom nothing is known of calls that hold something and were not sent."""
    rate = rates(bucket, pace, now)
    burst = bursts(rate, pace)
    most = (min(burst[n], kept - unsent[n]) for n, kept in enumerate(most_credit(rate, pace)))
    level = (
        min(level, cap) if limit else level for level, cap, limit in zip(bucket.level, most, bucket.limits, strict=True)
    )
    return replace(bucket, level=Amounts(*level))


def clamped(bucket: Bucket, remaining: Amounts) -> Bucket:
    """No fuller than the server says, where it says that little is left; below zero it says nothing."""
    level = (
        min(level, left) if 0 <= left < LITTLE_LEFT * limit else level
        for level, left, limit in zip(bucket.level, remaining, bucket.limits, strict=True)
    )
    return replace(bucket, level=Amounts(*level))


def penalised(bucket: Bucket, pause_s: float, cut: float, now: float) -> Bucket:
    """After a 429: everything that was to come comes so much later, and more slowly.

    One during a pause was sent before it, and says nothing new but how long; nor does one soon after a limit fell.
    """
    is_news = now >= bucket.paused_until and now - bucket.fell_at >= FALL_EXPLAINS_S
    until = max(bucket.paused_until, now + pause_s)
    return replace(
        bucket,
        factor=max(LEAST_FACTOR, bucket.factor * cut) if is_news else bucket.factor,
        stepped_at=now if is_news else bucket.stepped_at,
        paused_until=until,
        at=max(bucket.at, until),
        level=Amounts(*(min(0.0, level) for level in bucket.level)),
    )


def reserved(bucket: Bucket, asked: Amounts, pace: Pace, now: float) -> tuple[Bucket, float | None]:
    """The bucket less a call, and the seconds it has to wait; None where that would be too long: then nothing is held.

    `bucket` is refilled. What is larger than the bucket waits for a full one, and those behind it pay.
    """
    wait_s = turn_s(bucket, asked, pace, now)
    if wait_s > pace.longest_wait_s:
        return bucket, None
    rate = rates(bucket, pace, now)
    kept = most_credit(rate, pace)
    lost = (max(0.0, min(asked[n], full) - kept[n]) for n, full in enumerate(fulls(rate, pace)))
    return charged(bucket, Amounts(*(asked[n] + each for n, each in enumerate(lost)))), wait_s


def turn_s(bucket: Bucket, asked: Amounts, pace: Pace, now: float) -> float:
    """Seconds until a call's turn, if it asked now."""
    rate = rates(bucket, pace, now)
    full = fulls(rate, pace)
    missing_s = ((min(asked[n], full[n]) - bucket.level[n]) / rate[n] for n in range(3) if asked[n] > 0 and rate[n] > 0)
    return max(0.0, bucket.at - now) + max(0.0, *missing_s, 0.0)


def cut_of(fault: Fault) -> float:
    """What a 429 leaves of the rate."""
    return RAMP_CUT if fault.code == RAMP_CODE else RATE_CUT


def calls_per_s(rate: Amounts, per_call: Amounts) -> float:
    """Calls of this size that a rate lets through; `inf` where it limits nothing of what they use."""
    of_each = (each / one for each, one in zip(rate, per_call, strict=True) if each > 0 and one > 0)
    return min(of_each, default=math.inf)


def slots_needed(rate: Amounts, per_call: Amounts, latency_s: float, processes: int) -> float:
    """Calls that one of so many processes must hold to use its part of `rate`, by Little's law; `inf` without one."""
    return calls_per_s(rate, per_call) * (latency_s + QUEUE_S) / max(1, processes)


def steered(slots: int, needed: float, most: int) -> int:
    """How many slots a lane gets that has `slots` now and at most `most`. A small difference changes nothing."""
    wanted = most if needed >= most else max(1, math.ceil(needed))
    is_near = abs(wanted - slots) <= max(1.0, DEAD_BAND * slots)
    return slots if is_near and wanted not in {1, most} else wanted
