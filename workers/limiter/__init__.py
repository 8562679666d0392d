"""The fleet's place in Claude's rate limits: one bucket in Redis for each API key and class of models.

`limiter` is what a worker's jobs meet, `account` its books, `turns` the calls that wait, `headers` what Claude says,
`bucket` and `limit.lua` what all workers share, `slots` how many jobs are worth holding, `reading` how it all stands.
"""

from __future__ import annotations

from workers.limiter.bucket import fingerprint
from workers.limiter.limiter import Limiter
from workers.limiter.reading import LimitStatus, read_limits
from workers.limiter.slots import Slots

__all__ = ["LimitStatus", "Limiter", "Slots", "fingerprint", "read_limits"]
