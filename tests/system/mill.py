"""A whole docmill for a test: see `scripts.bench.mill`, which the benches share."""

from __future__ import annotations

from scripts.bench.mill import Child, Mill

__all__ = ["Child", "Mill"]
