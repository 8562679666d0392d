"""Answers on disk from the moment they arrive until the ledger has them.

One file for each worker process, locked by it as long as it lives: the kernel lets go of the lock when the process
dies, however it dies, so a file that can be locked belongs to a dead one. What is in it then is for `tasks.sweeping`
to settle. A line is one write, which a killed process has made or not made; it is not synced, so a power cut may cost
the last second's.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import structlog

from config.files import BadConfig
from tasks.model.call import Answer, Call, Kept, Usage
from tasks.model.fault import Unkeepable

SUFFIX = ".spool"
ASIDE = ".unsettled"
DRAFT = ".draft"
COMPACT_BYTES = 1_000_000
"""A file that has grown by so much is written anew, with the open lines alone."""
RESERVE_BYTES = 8_000_000
"""Less free space than this, and no call is sent: the answers under way still have to fit."""
LOOK_EVERY_S = 0.1
"""For so long there is as much space as there was: a look for each call costs more than the rest of the spool."""
FORMAT = 1
"""Of a line. One in another format is left to a person."""

_CALL = tuple(field.name for field in fields(Call) if field.default is MISSING)
"""What a call has before its answer."""
_ANSWER = tuple(field.name for field in fields(Answer) if field.name != "usage")
_USAGE = tuple(field.name for field in fields(Usage))

log = structlog.get_logger("docmill.spool")


class Spool:
    """Meets `tasks.ports.Spool`: this process's file, and what dead ones left beside it. For one thread."""

    def __init__(self, folder: Path, owner: str) -> None:
        """Make the file. Raises `BadConfig` where that cannot be."""
        self._folder = folder
        self._path = folder / f"{owner}{SUFFIX}"
        self._open: dict[str, bytes] = {}
        self._sound = True
        self._roomy_until = 0.0
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = self._fresh()
        except OSError as error:
            raise BadConfig(
                f"spool {folder}: {error.strerror}: answers are kept there; free it, or set DOCMILL_HOME"
            ) from None

    def check(self) -> None:
        """See `tasks.ports.Spool`."""
        try:
            if time.monotonic() >= self._roomy_until:
                space = os.statvfs(self._file)
                if space.f_bavail * space.f_frsize < RESERVE_BYTES:
                    raise Unkeepable(f"spool {self._folder}: under {RESERVE_BYTES / 1e6:.0f} MB free on its disk")
                self._roomy_until = time.monotonic() + LOOK_EVERY_S
            if not self._sound:
                self._compact()
                self._sound = True
        except OSError as error:
            raise Unkeepable(f"spool {self._folder}: {error.strerror}") from None

    def keep(self, kept: Kept) -> None:
        """See `tasks.ports.Spool`."""
        line = self._open[kept.call.id] = written(kept)
        try:
            _write_whole(self._file, line)
        except OSError as error:
            self._fail(error)
        self._written += len(line)

    def done(self, call_id: str) -> None:
        """See `tasks.ports.Spool`."""
        self._open.pop(call_id, None)
        if self._written > self._compact_at:
            try:
                self._compact()
            except OSError as error:
                self._fail(error)

    def estates(self) -> Iterator[Estate]:
        """See `tasks.ports.Spool`."""
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            file = _lock(path)
            if file is None:
                continue
            try:
                yield Estate(path)
            finally:
                os.close(file)

    def living(self) -> frozenset[str]:
        """See `tasks.ports.Spool`."""
        found = set()
        for path in self._folder.glob(f"*{SUFFIX}"):
            file = _lock(path)
            if file is None:
                found.add(path.stem)
            else:
                os.close(file)
        return frozenset(found)

    def close(self) -> None:
        """Take the file away; one with answers that the ledger does not have stays for who comes after us."""
        if not self._open:
            self._path.unlink(missing_ok=True)
        os.close(self._file)

    def _fail(self, error: OSError) -> None:
        """From now on nothing is sent, until the open lines are in a file again."""
        self._sound = False
        log.error("spool.failed", folder=str(self._folder), error=error.strerror, answers=len(self._open))

    def _compact(self) -> None:
        before = self._file
        self._file = self._fresh()
        os.close(before)

    def _fresh(self) -> int:
        """A locked file with the open lines, in the place of the one before."""
        draft = self._path.with_suffix(DRAFT)
        file = os.open(draft, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        lines = b"".join(self._open.values())
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write_whole(file, lines)
            draft.rename(self._path)
        except OSError:
            os.close(file)
            raise
        self._written = len(lines)
        self._compact_at = COMPACT_BYTES + 2 * len(lines)
        return file


class Estate:
    """Meets `tasks.ports.Estate`: a dead process's file, locked by who made this."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.owner = path.stem
        self.kept, self.unreadable = read(path.read_bytes())

    def discharge(self) -> None:
        """See `tasks.ports.Estate`."""
        self._path.unlink(missing_ok=True)
        self._path.with_suffix(DRAFT).unlink(missing_ok=True)

    def set_aside(self) -> None:
        """See `tasks.ports.Estate`."""
        self._path.rename(self._path.with_suffix(ASIDE))
        self._path.with_suffix(DRAFT).unlink(missing_ok=True)


def written(kept: Kept) -> bytes:
    """The line of an answer. It begins with the line's end: what was torn before it stays a line of its own."""
    call, answer, usage = kept.call, kept.answer, kept.answer.usage
    line = [
        FORMAT,
        kept.token,
        {name: getattr(call, name) for name in _CALL},
        {name: getattr(answer, name) for name in _ANSWER},
        {name: getattr(usage, name) for name in _USAGE},
    ]
    return b"\n" + json.dumps(line).encode()


def read(content: bytes) -> tuple[list[Kept], int]:
    """The answers in a file, in their order, and how many whole lines are none that we know. Torn lines are neither."""
    found, unreadable = [], 0
    for line in content.split(b"\n"):
        try:
            told = json.loads(line)
        except ValueError:  # what is left of a write is never whole JSON
            continue
        try:
            found.append(_kept(told))
        except (ValueError, TypeError, KeyError):
            unreadable += 1
    return found, unreadable


def _kept(line: Any) -> Kept:  # noqa: ANN401 - JSON, which another docmill may have written
    form, token, call, answer, usage = line
    if form != FORMAT:
        raise ValueError(f"format {form}")
    return Kept(token, Call(**call), Answer(**answer, usage=Usage(**usage)))


def _write_whole(file: int, content: bytes) -> None:
    """In one write. Raises `OSError` also where the disk takes a part of it."""
    if os.write(file, content) != len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _lock(path: Path) -> int | None:
    """The file, locked; None where its process lives, or has taken it away meanwhile."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    with suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(file).st_ino == path.stat().st_ino:  # a living process has put another in its place, else
            return file
    os.close(file)
    return None
