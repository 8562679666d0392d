"""What runs elsewhere: Claude, a stack that is up, those who are alerted."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from config.files import BadConfig
from config.settings import Settings
from config.stack import Stack
from scripts.commands.shared.health.finding import Finding, Grade

REACH_TIMEOUT_S = 3
ANTHROPIC = "https://api.anthropic.com"
PORTS = {"http": 80, "https": 443}


def claude(settings: Settings) -> Iterator[Finding]:
    """Whether there is a key, and whether the address answers. Nothing is asked."""
    if settings.simulated:
        said = "no ANTHROPIC_API_KEY: the simulator answers, synthetically"
        yield Finding("claude", Grade.NOTE, said, "set it to ask Claude")
        return
    has_key = bool(settings.anthropic_api_key.get_secret_value())
    address = urlsplit(settings.anthropic_base_url or ANTHROPIC)
    said = f"{'a key is set' if has_key else 'no key is set'}; {address.hostname}"
    if not has_key:
        yield Finding("claude", Grade.MISSING, said, "ANTHROPIC_BASE_URL without ANTHROPIC_API_KEY: set the key")
    try:
        place = address.hostname or "", address.port or PORTS.get(address.scheme, PORTS["https"])
        socket.create_connection(place, REACH_TIMEOUT_S).close()
    except OSError as error:
        yield Finding("claude", Grade.MISSING, f"{said}: {error.strerror or error}", "check the network or the address")
    else:
        yield Finding("claude", Grade.OK, f"{said}: reachable")


def stack(settings: Settings) -> Iterator[Finding]:
    """Whether `docmill up` runs here."""
    running = Stack.read(settings.home)
    if running is None:
        yield Finding("stack", Grade.NOTE, "not running", "`docmill up` starts it; `docmill run` its own")
    else:
        flower = f", Flower on {running.flower_url}" if running.flower_url else ""
        yield Finding("stack", Grade.OK, f"process {running.pid}{flower}")


def alerts(settings: Settings) -> Iterator[Finding]:
    """Where alerts go."""
    from workers.alerts import configured

    try:
        names = [channel.name for channel in configured(settings)]
    except BadConfig as error:
        yield Finding("alerts", Grade.MISSING, str(error), "mend or unset the variable")
        return
    if len(names) == 1:
        yield Finding("alerts", Grade.NOTE, "go to the log alone", "set DOCMILL_ALERT_URLS to be told")
    else:
        yield Finding("alerts", Grade.OK, f"go to {', '.join(names)}; `docmill alerts test` tries them")
