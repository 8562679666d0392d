"""What a person names on the command line, as a stream of documents to read.

Opens nothing but JSONL files and stdin. Hidden files and `__pycache__` are passed over in folders, as `ls` does.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from workers.intake import jsonl as jsonl_lines
from workers.intake.document import MAX_BYTES, Skipped, Unreadable, shown
from workers.intake.files import special, too_large
from workers.intake.source import Source

STDIN = "-"
_MAGIC = frozenset("*?[")

Found = Source | Unreadable
Seen = Callable[[os.stat_result], bool]


class BadSource(ValueError):
    """A name that leads nowhere; the message is one line for a person."""


def find(names: Sequence[str], *, jsonl: Sequence[str] = (), stdin: BinaryIO | None = None) -> Iterator[Found]:
    """The documents that `names` and `jsonl` name, lazily, in the order named and sorted within a folder or glob.

    Args:
        names: Files, folders (read recursively), globs, `-` for stdin as one document. The lines of a file named
            `*.jsonl` are the documents; one that lies in a folder is skipped, since it may hold our own results.
        jsonl: Files to read as JSONL whatever they are called; `-` for stdin.
        stdin: What `-` reads; None means the process's own.

    A file that several names reach comes once. Raises `BadSource` now, before the first document, for a name that is
    not there: a slip of the pen submits nothing.
    """
    if [*names, *jsonl].count(STDIN) > 1:
        raise BadSource("'-' is named twice: stdin can be read once")
    for name in (*names, *jsonl):
        _check(name)
    return _stream(names, jsonl, stdin)


def _check(name: str) -> None:
    if not name or "\0" in name:
        raise BadSource(f"'{shown(name)}' is no file name: name a file, a folder, a glob or '-'")
    if name == STDIN or os.path.lexists(name):
        return
    if not _is_glob(name):
        raise BadSource(f"{shown(name)}: no such file or folder")
    try:
        nothing = next(_matches(name), None) is None
    except ValueError as error:
        raise BadSource(f"{shown(name)}: not a glob ({error})") from None
    if nothing:
        raise BadSource(f"{shown(name)}: the glob matches nothing")


def _stream(names: Sequence[str], jsonl: Sequence[str], stdin: BinaryIO | None) -> Iterator[Found]:
    first_time = _remember()
    for name in names:
        if name == STDIN:
            yield _from_stdin(stdin or sys.stdin.buffer)
        elif os.path.lexists(name):
            yield from _named(Path(name), first_time)
        else:
            for path in sorted(_matches(name)):
                yield from _named(path, first_time)
    for name in jsonl:
        if name == STDIN:
            yield from jsonl_lines.lines(stdin or sys.stdin.buffer, "stdin", Path())
        else:
            yield from _lines(Path(name))


def _remember() -> Seen:
    """Whether a file is met for the first time. By device and inode, a few dozen bytes for each."""
    seen: set[int] = set()

    def first_time(status: os.stat_result) -> bool:
        known = len(seen)
        seen.add(status.st_dev << 64 | status.st_ino)
        return len(seen) > known

    return first_time


def _from_stdin(stream: BinaryIO) -> Found:
    content = stream.read(MAX_BYTES + 1)
    return Source("stdin", content) if len(content) <= MAX_BYTES else too_large("stdin", f"over {MAX_BYTES:,} bytes")


def _named(path: Path, first_time: Seen) -> Iterator[Found]:
    """What was named outright: links are followed, and its lines are read when it is a JSONL file."""
    try:
        status = path.stat()
    except OSError as error:
        yield Unreadable(shown(str(path)), f"cannot be read ({error.strerror})")
        return
    if stat.S_ISDIR(status.st_mode):
        yield from _walk(path, first_time)
    elif not stat.S_ISREG(status.st_mode):
        yield Skipped(shown(str(path)), special(status.st_mode))
    elif first_time(status):
        yield from _lines(path) if path.suffix == ".jsonl" else [Source(shown(str(path)), path)]


def _lines(path: Path) -> Iterator[Found]:
    name = shown(str(path))
    try:
        with path.open("rb") as stream:
            yield from jsonl_lines.lines(stream, name, path.parent)
    except OSError as error:
        yield Unreadable(name, f"cannot be read ({error.strerror})")


def _walk(root: Path, first_time: Seen) -> Iterator[Found]:
    """Everything below `root`, sorted, folder by folder. Not recursive: folders nest deeper than Python does."""
    inside = _inside(root)
    pending: list[Iterator[Path]] = [iter([root])]
    while pending:
        path = next(pending[-1], None)
        if path is None:
            pending.pop()
            continue
        try:
            status = path.stat() if path == root else path.lstat()
            if stat.S_ISDIR(status.st_mode):
                pending.append(_visible(path))
                continue
        except OSError as error:
            yield Unreadable(shown(str(path)), f"cannot be read ({error.strerror})")
            continue
        reason = _left_out(path, status.st_mode, inside)
        if reason is not None:
            yield Skipped(shown(str(path)), reason)
        elif stat.S_ISREG(status.st_mode) and first_time(status):
            yield Source(shown(str(path)), path)


def _visible(folder: Path) -> Iterator[Path]:
    # Names and not entries are held and sorted: a folder of 100,000 files stays at a few megabytes.
    names = sorted(name for name in os.listdir(folder) if not _hidden(name))  # noqa: PTH208 - Path.iterdir makes a Path each
    return (folder / name for name in names)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__"


def _left_out(path: Path, mode: int, inside: str) -> str | None:
    """Why something met in a folder is not read; None for a file, and for a link to one that is met anyway."""
    if stat.S_ISREG(mode):
        return "a JSONL file in a folder; name it to submit its lines" if path.suffix == ".jsonl" else None
    if not stat.S_ISLNK(mode):
        return special(mode)
    target = os.path.realpath(path)
    if not target.startswith(inside):
        return "a link out of the folder; name its target to submit it"
    if not os.path.exists(target):  # noqa: PTH110 - a loop of links is False here and an error to Path
        return "a link to nothing"
    if any(map(_hidden, Path(target.removeprefix(inside)).parts)):
        return "a link to something hidden; name its target to submit it"
    return None


def _inside(folder: Path) -> str:
    """What the real path of everything in `folder` begins with."""
    return f"{os.path.realpath(folder).rstrip(os.sep)}{os.sep}"


def _is_glob(name: str) -> bool:
    return not _MAGIC.isdisjoint(name)


def _matches(pattern: str) -> Iterator[Path]:
    """What a glob matches, as a shell would: nothing hidden, and nothing that a link leads to out of its fixed part."""
    parts = Path(pattern).parts
    fixed = next(index for index, part in enumerate(parts) if _is_glob(part))
    base = Path(*parts[:fixed])
    inside = _inside(base)
    for path in base.glob(str(Path(*parts[fixed:]))):
        hidden = any(map(_hidden, path.relative_to(base).parts))
        if not hidden and f"{os.path.realpath(path)}{os.sep}".startswith(inside):
            yield path
