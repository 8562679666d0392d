"""Faults that a person can mend: told in one line, without a traceback. Anything else is a bug and keeps its own.

Known by name, so that telling them apart imports nothing: what was raised is imported already.
"""

from __future__ import annotations

import sys
import traceback
from typing import TextIO

MENDABLE = (
    ("config.files", "BadConfig"),
    ("config.stack", "NotConfigured"),
    ("workers.producer", "BadRequest"),
    ("workers.intake", "BadSource"),
    ("workers.ledger", "LedgerError"),
    ("workers.transport", "BrokerRefused"),
    ("scripts.stack.valkey", "ServerUnavailable"),
    ("scripts.stack", "StackError"),
)
BROKER = ("redis.exceptions", "RedisError"), ("kombu.exceptions", "OperationalError")


class Mistake(ValueError):
    """Something asked for that cannot be had: the message names the thing, the value and the way out."""


def told(error: Exception) -> str | None:
    """The line for a person; None for a bug of ours."""
    if isinstance(error, (Mistake, *_loaded(MENDABLE))):
        return str(error).strip()
    if isinstance(error, _loaded(BROKER)):
        return f"the broker: {one_line(str(error))}; `docmill doctor` says what is reachable"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{one_line(str(error.filename))}: {error.strerror}"
    return None


def tell_bug(error: BaseException, stream: TextIO) -> None:
    """Where it happened, and what kind it is. Messages are left out: they may quote a document."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    for one in reversed(causes):
        print("Traceback (most recent call last):", file=stream)
        stream.writelines(traceback.format_tb(one.__traceback__))
        print(f"{type(one).__module__}.{type(one).__qualname__}\n", file=stream)
    print("docmill: this is a bug in docmill; its message is left out, since it may quote a document", file=stream)


def one_line(text: str) -> str:
    """The text with every run of blanks, line ends included, as one space."""
    return " ".join(text.split())


def _loaded(names: tuple[tuple[str, str], ...]) -> tuple[type[BaseException], ...]:
    found = (getattr(sys.modules.get(module), name, None) for module, name in names)
    return tuple(kind for kind in found if isinstance(kind, type))
