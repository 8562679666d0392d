"""Parser processes: slow and hostile documents are parsed apart, within a time and a memory.

What a document does there, whether hang, crash or eat memory, ends as a fault of that document; the next one finds a
fresh process. `parser` is the program they run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Timer
from types import TracebackType
from typing import Self

from workers.intake.document import Empty, Parsed, Skipped, Unreadable
from workers.intake.kinds import Kind
from workers.intake.parser import MEMORY_BYTES, OUT_OF_MEMORY, receive, send

DEADLINE_S = 300.0
"""Longest one document may take. A PDF takes 40 ms a page, so one of 2,400 pages 100 s."""

_EXIT_S = 5.0
"""How long a parser that fell silent has to end by itself."""

_ROOT = Path(__file__).parents[2]
_ENVIRONMENT = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "SYSTEMROOT", "TMPDIR")
"""All that a parser gets to see of ours: no key and no address is within reach of what a document might do to it."""

_FAULTS = {kind.__name__: kind for kind in (Unreadable, Empty, Skipped)}


class Parser:
    """One parser process: started when it is needed, and again after a document brought it down.

    For one thread at a time, but for `close`.
    """

    def __init__(self, deadline_s: float = DEADLINE_S) -> None:
        self._deadline_s = deadline_s
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def parse(self, kind: Kind, content: bytes, name: str) -> Parsed:
        """As `kind.parse`, at arm's length. Raises `Unreadable`."""
        process = self._running()
        late = False

        def give_up() -> None:
            nonlocal late
            late = True
            process.kill()

        timer = Timer(self._deadline_s, give_up)
        timer.daemon = True
        timer.start()
        try:
            reply = _ask(process, kind, content, name)
        finally:
            timer.cancel()
        if reply is None:
            raise Unreadable(name, self._bury(process, late=late))
        return _outcome(reply, name)

    def close(self) -> None:
        """End the process, whatever it is at. May be called from another thread."""
        self._closed = True
        if self._process is not None:
            self._process.kill()

    def reap(self) -> None:
        """Wait for the end of a closed process and let go of its pipes."""
        if self._process is not None:
            self._bury(self._process, late=False)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = _start()
        if self._closed:  # closed while it started
            self._process.kill()
        return self._process

    def _bury(self, process: subprocess.Popen[bytes], *, late: bool) -> str:
        """Why a process that did not answer ended."""
        self._process = None
        status = _end(process)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):  # bytes left for a reader that is gone
                    pipe.close()
        if late:
            return f"not parsed within {self._deadline_s:g} s: split it or save it in a simpler form"
        if status == OUT_OF_MEMORY:
            return f"needs more than {MEMORY_BYTES // 2**20:,} MB to parse: split it or save it in a simpler form"
        return f"its parser died (exit status {status}): save it in another form"


class ParserPool:
    """Up to `processes` parsers, each started when there is work for it. A context manager: leaving it ends them."""

    def __init__(self, processes: int, deadline_s: float = DEADLINE_S) -> None:
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="parser")
        self._parsers = [Parser(deadline_s) for _ in range(processes)]
        self._idle: SimpleQueue[Parser] = SimpleQueue()
        for parser in self._parsers:
            self._idle.put(parser)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for parser in self._parsers:
            parser.close()
        self._threads.shutdown(cancel_futures=True)
        for parser in self._parsers:
            parser.reap()

    def submit(self, kind: Kind, content: bytes, name: str) -> Future[Parsed]:
        """Parse it as soon as a process is free. The future raises `Unreadable`."""
        return self._threads.submit(self._parse, kind, content, name)

    def _parse(self, kind: Kind, content: bytes, name: str) -> Parsed:
        parser = self._idle.get()
        try:
            return parser.parse(kind, content, name)
        finally:
            self._idle.put(parser)


def _end(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(_EXIT_S)  # killing it at once would hide the status it ends with
    except subprocess.TimeoutExpired:  # it closed its end and lives
        process.kill()
        return process.wait()


def _start() -> subprocess.Popen[bytes]:
    environment = {key: os.environ[key] for key in _ENVIRONMENT if key in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    return subprocess.Popen(  # noqa: S603 - our own module, by our own interpreter
        [sys.executable, "-P", "-m", f"{__package__}.parser"],  # -P: a folder `workers` where we stand is not ours
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # libraries quote documents in their complaints
        env=environment,
        start_new_session=True,  # Ctrl-C is for us; it ends when we do
    )


def _ask(process: subprocess.Popen[bytes], kind: Kind, content: bytes, name: str) -> bytes | None:
    """The process's reply; None when it ended without one."""
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - Popen was given PIPE for both
    try:
        send(process.stdin, json.dumps([kind.media_type, name]).encode())
        send(process.stdin, content)
        return receive(process.stdout)
    except OSError:
        return None


def _outcome(reply: bytes, name: str) -> Parsed:
    fault, reason, text, pages = json.loads(reply)
    if fault is not None:
        raise _FAULTS[fault](name, reason)
    return Parsed(text, pages)
