"""Channels by which alerts reach people: the log, a signed webhook, and what apprise knows.

`tasks.alerting` decides what is sent when. A channel is known by its name: its address holds secrets, and leaves this
package only for where it leads.
"""

from __future__ import annotations

import re

from config.files import BadConfig
from config.settings import Settings
from workers.alerts.channels import Channel, Channels, LogChannel
from workers.alerts.services import AppriseChannel
from workers.alerts.webhook import Webhook

__all__ = ["AppriseChannel", "Channel", "Channels", "LogChannel", "Webhook", "configured"]

_NAMED = re.compile(r"([a-z0-9][a-z0-9_-]*)=(\w+://\S+)", re.IGNORECASE)
_TAKEN = {LogChannel.name, Webhook.name}


def configured(settings: Settings) -> list[Channel]:
    """The channels that the settings name, the log first. Raises `BadConfig`, which names no address."""
    found: list[Channel] = [LogChannel()]
    url = settings.alert_webhook_url.get_secret_value()
    if url:
        found.append(Webhook(url, settings.alert_webhook_secret.get_secret_value()))
    for position, said in enumerate(settings.alert_urls.get_secret_value().split(), 1):
        named = _NAMED.fullmatch(said)
        if named is None:
            raise BadConfig(
                f"DOCMILL_ALERT_URLS: address {position} has no name or is none: "
                "write name=scheme://..., with blanks between several"
            )
        name, address = named.groups()
        if name in {channel.name for channel in found} | _TAKEN:
            raise BadConfig(f"DOCMILL_ALERT_URLS: address {position} is called {name!r}, as another channel is")
        found.append(AppriseChannel(name, address))
    return found
