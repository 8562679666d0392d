"""Something a person should know, and its way there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Alert:
    """What is told. Ids, names and numbers: never a key, a channel's address or a document's text."""

    key: str
    """The same trouble has the same key, and is told once."""
    kind: str
    subject: str
    """One line with the number and the limit."""
    body: str
    """A few lines; the last says what to run next."""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """The numbers, for programs."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """An alert that is due on one channel."""

    alert_id: str
    channel: str
    tries: int
    """Times it was tried before."""
    created_at: datetime
    """When the alert was raised."""
    alert: Alert


class Undelivered(Exception):
    """A channel did not take an alert. The message says why, and holds nothing of the channel's address."""
