"""E-mail, Slack and the many other services that apprise knows. It is imported with the first alert: it is heavy.

Its log lines quote addresses, and so do those of the HTTP client below it: none of them goes anywhere. What is kept of
a failure is an HTTP status, or that there was no connection.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable

from tasks.model.alert import Delivery, Undelivered

_QUOTE_ADDRESSES = ("apprise", "urllib3")
_STATUS = re.compile(r"error[= ](\d{3})\b", re.IGNORECASE)
_UNREACHABLE = re.compile(r"connection|timed? ?out|unreachable", re.IGNORECASE)


class AppriseChannel:
    """An address as apprise takes it, by a name."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self._address = address

    def send(self, delivery: Delivery) -> None:
        """See `workers.alerts.channels.Channel`."""
        for name in _QUOTE_ADDRESSES:
            logging.getLogger(name).propagate = False
        import apprise  # a second of CPU, which a process without alerts need not pay

        # In this thread: those of apprise's own would hold up the end of the process as long as a service hangs.
        asset = apprise.AppriseAsset(app_id="docmill", async_mode=False, service_timeout=0)
        services = apprise.Apprise(asset=asset)
        if not services.add(self._address):
            raise Undelivered("apprise does not know such an address: check DOCMILL_ALERT_URLS")
        with services.notify(
            title=f"docmill: {delivery.alert.subject}",
            body=f"{delivery.alert.body}\n\n{delivery.alert_id}",
            notify_type=apprise.NotifyType.WARNING,
            body_format=apprise.NotifyFormat.TEXT,
        ) as result:
            if not result:
                raise Undelivered(_reason(entry.message for entry in result.logs()))


def _reason(said: Iterable[str]) -> str:
    """What is certainly no part of an address."""
    lines = list(said)
    statuses = [status[1] for line in lines if (status := _STATUS.search(line))]
    if statuses:
        return f"HTTP {statuses[-1]}"
    if any(_UNREACHABLE.search(line) for line in lines):
        return "no connection to the service"
    return "the service did not take it"
