"""Objects of kombu, Celery and redis-py, whose published types lack much of what is used here.

`tests/workers/transport/test_contract.py` pins what the types do not say.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from kombu.transport import redis as kombu_redis

Foreign: TypeAlias = Any
stock: Foreign = kombu_redis
