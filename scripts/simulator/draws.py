"""Chance that can be repeated: a draw depends on the seed and on what it is for, not on what was drawn before."""

from __future__ import annotations

import hashlib
import math
from statistics import NormalDist

_NORMAL = NormalDist()


def draw(*purpose: object) -> float:
    """Uniform in (0, 1)."""
    digest = hashlib.blake2b("\0".join(map(str, purpose)).encode(), digest_size=8).digest()
    return (int.from_bytes(digest) + 0.5) / 2**64


def lognormal(median: float, sigma: float, uniform: float) -> float:
    """The value at quantile `uniform`; half of the values lie below `median`."""
    return median * math.exp(sigma * _NORMAL.inv_cdf(min(uniform, 1 - 1e-12)))
