"""What can go wrong, in one line that names the thing and the way out."""

from __future__ import annotations

from kombu.exceptions import OperationalError


class BrokerRefused(OperationalError):
    """Redis answered, but takes no messages now: out of memory, read-only, or unable to write to its disk.

    kombu's error for a publish that failed, so whoever handles that handles this.
    """


class Malformed(ValueError):
    """An item in a lane that is no message; the text says why and never quotes it."""
