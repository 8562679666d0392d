"""The broker, and what it holds: paused lanes, messages that no worker could read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from config.files import BadConfig
from config.settings import Settings
from config.stack import NotConfigured
from scripts.commands.shared.figures import counted
from scripts.commands.shared.health.finding import Finding, Grade
from scripts.commands.shared.lanes import read_pauses, tell
from scripts.commands.shared.mistakes import one_line
from scripts.commands.shared.settings import broker as connect

if TYPE_CHECKING:
    import redis


def broker(settings: Settings) -> Iterator[Finding]:
    """Whether it answers, and is set up to keep what it is given."""
    import redis

    try:
        client = connect(settings)
    except NotConfigured:
        yield _embedded()
        return
    except BadConfig as error:
        yield Finding("broker", Grade.MISSING, str(error), "mend DOCMILL_REDIS_URL")
        return
    if client is None:
        yield Finding("broker", Grade.NOTE, "several servers: not looked at")
        return
    with client:
        try:
            yield from _server(client)
            yield _quarantine(client)
            yield from _paused(settings)
        except redis.RedisError as error:
            mend = "start it, or mend DOCMILL_REDIS_URL"
            yield Finding("broker", Grade.MISSING, one_line(str(error)), mend)


def _embedded() -> Finding:
    from scripts.stack.valkey import ServerUnavailable, embedded_program

    try:
        embedded_program()
    except ServerUnavailable as error:
        return Finding("broker", Grade.MISSING, "none", str(error))
    return Finding("broker", Grade.NOTE, "not running: the embedded Valkey starts with the stack")


def _server(client: redis.Redis) -> Iterator[Finding]:
    told = client.info()
    name = told.get("server_name", "redis")
    version = told.get(f"{name}_version", told["redis_version"])
    host = client.connection_pool.connection_kwargs.get("host", "")
    yield Finding("broker", Grade.OK, f"{name} {version} on {host}" if host else f"{name} {version}")
    if told.get("maxmemory") and told.get("maxmemory_policy") != "noeviction":
        said = f"maxmemory-policy {told['maxmemory_policy']}: it throws messages away when it is full"
        yield Finding("broker", Grade.WARNING, said, "set maxmemory-policy noeviction")
    if not told.get("aof_enabled"):
        yield Finding("broker", Grade.WARNING, "no append-only file: a restart forgets messages", "set appendonly yes")


def _quarantine(client: redis.Redis) -> Finding:
    from workers.transport import Quarantine

    held = Quarantine(client).count()
    if not held:
        return Finding("quarantine", Grade.OK, "empty")
    said = f"{counted(held, 'message')} that no worker could read"
    return Finding("quarantine", Grade.WARNING, said, "`docmill quarantine` tells why; put them back, or drop them")


def _paused(settings: Settings) -> Iterator[Finding]:
    try:
        pauses = read_pauses(settings)
    except BadConfig:  # the catalogue's, which is found fault with elsewhere
        return
    for line, advice in tell(pauses):
        yield Finding("lanes", Grade.WARNING, line, advice)
    if not pauses:
        yield Finding("lanes", Grade.OK, "none is paused")
