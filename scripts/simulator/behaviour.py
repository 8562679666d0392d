"""How the simulator behaves: what the command line, `POST /_sim/config` and a test can set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from scripts.simulator.buckets import Limits, read_limits
from scripts.simulator.faults import read_rates
from scripts.simulator.latency import Latency

CHANGEABLE = ("faults", "latency", "limits", "tokens_per_s", "defaults")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Settings as they were given; the properties have them read. A bad one is a `ValueError` when it is made.

    `latency`: seconds to the first byte, see `latency`. `tokens_per_s`: speed of the answer after that, None for all
    at once. `faults`: one rate for the default mix, or a rate per kind. `limits`: per model id, or `*`. `defaults`:
    parts of a body that hold where a request leaves them out, as a workspace's `inference_geo` does.
    """

    seed: int = 1
    latency: str = "0"
    tokens_per_s: float | None = None
    faults: float | Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _ = self.read_latency, self.read_faults, self.read_limits
        if self.tokens_per_s is not None and not 0 < self.tokens_per_s < math.inf:
            raise ValueError(f"tokens_per_s {self.tokens_per_s!r}: give a number above 0, or none for all at once")

    @property
    def read_latency(self) -> Latency:
        """The distribution of times to the first byte."""
        return Latency.read(self.latency)

    @property
    def read_faults(self) -> dict[str, float]:
        """Rate by kind of fault."""
        return read_rates(self.faults)

    @property
    def read_limits(self) -> dict[str, Limits]:
        """Rate limits by model id."""
        return read_limits(self.limits)

    def changed(self, settings: Mapping[str, Any]) -> Behaviour:
        """With these settings instead. Raises `ValueError` for an unknown one (the seed stays) or a bad value."""
        if unknown := set(settings) - set(CHANGEABLE):
            raise ValueError(f"unknown setting {sorted(unknown)}: known are {list(CHANGEABLE)}")
        try:
            return replace(self, **settings)
        except (TypeError, AttributeError) as error:
            raise ValueError(f"settings {dict(settings)}: {error}") from None

    def as_json(self) -> dict[str, Any]:
        """As `GET /_sim/config` shows it."""
        return {
            "seed": self.seed,
            "latency": self.latency,
            "tokens_per_s": self.tokens_per_s,
            "faults": self.read_faults,
            "limits": {model: dict(limits) for model, limits in self.limits.items()},
            "defaults": dict(self.defaults),
        }
