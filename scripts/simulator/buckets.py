"""Rate limits: three token buckets per model (requests, input tokens, output tokens), refilled continuously.

`input` counts uncached and newly cached tokens, `output` tokens really produced; cache reads and `max_tokens` are free.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache

ANY_MODEL = "*"


@dataclass(frozen=True, slots=True)
class Limits:
    """Per minute. A bucket holds `burst_s` seconds' worth: with 1, sixty requests at once do not pass 60 rpm.

    `taken` is the share that somebody else uses, all the time; `headers` is 0 where responses tell nothing of limits.
    """

    rpm: float = 1_000_000
    itpm: float = 2_000_000_000
    otpm: float = 400_000_000
    burst_s: float = 60
    taken: float = 0
    headers: float = 1

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not self._fits(field.name, value):
                raise ValueError(f"limit {field.name} is {value!r}: give {self._wanted(field.name)}")

    @staticmethod
    def _fits(name: str, value: float) -> bool:
        if name == "taken":
            return 0 <= value < 1
        return value in {0, 1} if name == "headers" else 0 < value < math.inf

    @staticmethod
    def _wanted(name: str) -> str:
        return {"taken": "a share below 1", "headers": "0 or 1"}.get(name, "a number above 0")


def read_limits(spec: Mapping[str, Mapping[str, float]]) -> dict[str, Limits]:
    """{"*" or a model id: {"rpm": ..., "itpm": ..., "burst_s": ..., ...}}, see `Limits`; what is left out is generous.

    Raises `ValueError` for an unknown name or a number that is no limit.
    """
    known = {field.name for field in fields(Limits)}
    for model, limits in spec.items():
        if unknown := set(limits) - known:
            raise ValueError(f"limits for {model!r}: unknown {sorted(unknown)}, known are {sorted(known)}")
    return {model: Limits(**limits) for model, limits in spec.items()}


class Bucket:
    """Refills at `per_minute`/60 a second up to `capacity`; may go below zero, which later callers wait out."""

    __slots__ = ("at", "capacity", "level", "limit", "rate_per_s")

    def __init__(self, per_minute: float, limits: Limits, now: float) -> None:
        self.limit = int(per_minute)
        self.rate_per_s = per_minute / 60 * (1 - limits.taken)
        self.capacity = max(1.0, per_minute / 60 * limits.burst_s)
        self.level = self.capacity
        self.at = now

    def wait_s(self, amount: float, now: float) -> float:
        """Seconds until `amount` is there; 0 if it is. More than the bucket holds is let through by a full bucket."""
        if now > self.at:
            self.level = min(self.capacity, self.level + (now - self.at) * self.rate_per_s)
            self.at = now
        missing = min(amount, self.capacity) - self.level
        return missing / self.rate_per_s if missing > 1e-9 else 0.0

    def remaining(self) -> str:
        """What is left, rounded to thousands."""
        return str(max(0, int(round(self.level, -3))))

    def reset(self) -> str:
        """When the bucket will be full again."""
        return rfc3339(math.ceil(self.at + (self.capacity - self.level) / self.rate_per_s))


class ModelBuckets:
    """The three buckets of one model. Times are unix seconds."""

    def __init__(self, limits: Limits, now: float) -> None:
        self.requests = Bucket(limits.rpm, limits, now)
        self.input = Bucket(limits.itpm, limits, now)
        self.output = Bucket(limits.otpm, limits, now)
        self._are_told = bool(limits.headers)

    def wait_s(self, input_tokens: int, now: float) -> float:
        """Seconds until a request of this size would be let in; 0 for now."""
        return max(self.requests.wait_s(1, now), self.input.wait_s(input_tokens, now), self.output.wait_s(1, now))

    def take(self, input_tokens: int, output_tokens: int) -> None:
        """Debit one request that was let in."""
        self.requests.level -= 1
        self.input.level -= input_tokens
        self.output.level -= output_tokens

    def headers(self) -> dict[str, str]:
        """`anthropic-ratelimit-*`. Token counts are rounded to thousands, resets are the time of full refill."""
        if not self._are_told:
            return {}
        requests, asked, said = self.requests, self.input, self.output
        tightest = asked if asked.level * said.capacity < said.level * asked.capacity else said
        stem = "anthropic-ratelimit"
        return {
            f"{stem}-requests-limit": str(requests.limit),
            f"{stem}-requests-remaining": str(max(0, int(requests.level))),
            f"{stem}-requests-reset": requests.reset(),
            f"{stem}-input-tokens-limit": str(asked.limit),
            f"{stem}-input-tokens-remaining": asked.remaining(),
            f"{stem}-input-tokens-reset": asked.reset(),
            f"{stem}-output-tokens-limit": str(said.limit),
            f"{stem}-output-tokens-remaining": said.remaining(),
            f"{stem}-output-tokens-reset": said.reset(),
            f"{stem}-tokens-limit": str(tightest.limit),
            f"{stem}-tokens-remaining": tightest.remaining(),
            f"{stem}-tokens-reset": tightest.reset(),
        }


@lru_cache(maxsize=1024)
def rfc3339(unix_s: int) -> str:
    """A whole second in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix_s))


class RateLimits:
    """The buckets of every model, made when a model is first asked for."""

    def __init__(self, limits: Mapping[str, Limits]) -> None:
        self._limits = dict(limits)
        self._buckets: dict[str, ModelBuckets] = {}

    def of(self, model: str, now: float) -> ModelBuckets:
        """The model's buckets, by its own limits, else those for `*`, else generous ones."""
        buckets = self._buckets.get(model)
        if buckets is None:
            limits = self._limits.get(model) or self._limits.get(ANY_MODEL) or Limits()
            buckets = self._buckets[model] = ModelBuckets(limits, now)
        return buckets
