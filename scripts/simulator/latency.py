"""How long until the first byte: `0`, `fixed:2`, `uniform:1,3`, `lognormal:MEDIAN,SIGMA`, in seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scripts.simulator.draws import lognormal

ARGUMENTS = {"fixed": 1, "uniform": 2, "lognormal": 2}


@dataclass(frozen=True, slots=True)
class Latency:
    """A distribution: its kind and its one or two numbers."""

    kind: str
    first: float
    second: float = 0

    @classmethod
    def read(cls, spec: str) -> Latency:
        """Raises `ValueError` for anything that is not one of the forms above; a bare number is fixed."""
        kind, colon, rest = spec.partition(":")
        if not colon:
            kind, rest = "fixed", spec
        try:
            numbers = [float(number) for number in rest.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) != ARGUMENTS.get(kind) or any(not 0 <= number < math.inf for number in numbers):
            raise ValueError(f"latency {spec!r}: give 0, fixed:2, uniform:1,3 or lognormal:2,0.5 (seconds)")
        return cls(kind, *numbers)

    @property
    def varies(self) -> bool:
        """Whether it is more than one number."""
        return self.kind != "fixed"

    def at(self, uniform: float) -> float:
        """Seconds at this quantile of the distribution."""
        match self.kind:
            case "uniform":
                return self.first + (self.second - self.first) * uniform
            case "lognormal":
                return lognormal(self.first, self.second, uniform)
            case _:
                return self.first
