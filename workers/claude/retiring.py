"""When models retire, by Claude's own word: asked for free, and seldom."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime

import anthropic
import structlog

from workers.claude.faults import WIRE_ERRORS, fault_of

ASK_EVERY_S = 86_400.0
ASK_AGAIN_S = 3_600.0
"""After an answer that did not come."""
TIMEOUT_S = 10.0

log = structlog.get_logger("docmill.retiring")


class Retiring:
    """What Claude has said of its models, one client's."""

    def __init__(self, client: anthropic.AsyncAnthropic) -> None:
        self._client = client
        self._told: dict[str, date | None] = {}
        self._ask_at: dict[str, float] = {}

    async def on(self, model: str) -> date | None:
        """The day on which a model is to retire, or has; None where none is set, or nobody could be asked."""
        if time.monotonic() >= self._ask_at.get(model, 0.0):
            try:
                info: object = await self._client.models.retrieve(model, timeout=TIMEOUT_S)
            except WIRE_ERRORS as error:
                log.warning("retirement.unknown", model=model, error=fault_of(error).kind)
                self._ask_at[model] = time.monotonic() + ASK_AGAIN_S
            else:
                self._told[model] = _day_of(info)
                self._ask_at[model] = time.monotonic() + ASK_EVERY_S
        return self._told.get(model)


def _day_of(info: object) -> date | None:
    """The day in a model's description, which the SDK does not check: a gateway may say anything."""
    retires_at, lifecycle = (getattr(info, name, None) for name in ("retires_at", "lifecycle"))
    if isinstance(retires_at, datetime):
        return retires_at.astimezone(UTC).date()
    return datetime.now(UTC).date() if lifecycle == "retired" else None
