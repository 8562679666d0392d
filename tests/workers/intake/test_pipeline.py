from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.workers.intake.pdfs import REPORT, assemble, text_pdf
from workers.intake import Source, Taken, Unreadable, find, read_many
from workers.intake.kinds import HTML, PDF
from workers.intake.parser import OUT_OF_MEMORY, receive, send
from workers.intake.parsers import ParserPool

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="tells processes by Linux's /proc")

SAMPLES = Path(__file__).parents[2] / "samples"
PAGE = text_pdf([(12, "The lease ends on 31 March.")])
LONG = text_pdf(*[[(12, f"Page {number} of a very long lease.")] for number in range(4000)])
"""Takes seconds to parse: long enough to be interrupted."""


def children() -> set[int]:
    """Process ids of our children, by the kernel's word."""
    pids: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended as we looked
            pids |= {int(pid) for pid in (task / "children").read_text().split()}
    return pids


def new_child(before: set[int]) -> int:
    while not (born := children() - before):
        time.sleep(0.001)
    return born.pop()


def outcome(one: Taken | Unreadable) -> str:
    return one.document.text or "no text" if isinstance(one, Taken) else one.reason


def test_the_samples_are_read() -> None:
    documents = {one.source.name: one for one in read_many(find([str(SAMPLES)])) if isinstance(one, Taken)}
    assert len(documents) == len(list(SAMPLES.iterdir())) >= 8
    report = documents[str(SAMPLES / "river-report.pdf")].document
    assert report.content == text_pdf(*REPORT)
    assert report.pages == 2
    assert "Wren Valley Water Trust" in (report.text or "")
    assert sum(len(one.document.content) for one in documents.values()) < 60_000


def test_slow_and_fast_kinds_come_out_in_their_order() -> None:
    bodies = [PAGE, b"text", b"<html><p>page</p></html>", b"", PAGE[:100], b"more text"] * 20
    read = list(read_many((Source(f"{number}", body) for number, body in enumerate(bodies)), processes=2))
    assert [one.source.name if isinstance(one, Taken) else one.name for one in read] == [f"{n}" for n in range(120)]
    assert [outcome(one).split(" (")[0] for one in read[:6]] == [
        "The lease ends on 31 March.",
        "text",
        "page",
        "nothing in it but blanks: give a document with text",
        "a broken PDF",
        "more text",
    ]


def test_a_parser_that_dies_costs_one_document() -> None:
    before = children()
    with ParserPool(1) as pool:
        dying = pool.submit(PDF, LONG, "long.pdf")
        os.kill(new_child(before), signal.SIGKILL)
        with pytest.raises(Unreadable, match=r"^long.pdf: its parser died \(exit status -9\)"):
            dying.result()
        assert pool.submit(PDF, PAGE, "lease.pdf").result().pages == 1
    assert children() == before


def test_a_document_that_takes_too_long_is_given_up() -> None:
    with ParserPool(1, deadline_s=0.01) as pool, pytest.raises(Unreadable, match=r"not parsed within 0\.01 s: split"):
        pool.submit(PDF, LONG, "long.pdf").result()


def test_a_parser_that_runs_out_of_memory_says_so() -> None:
    resource = pytest.importorskip("resource")
    bound = 300 * 2**20
    process = subprocess.Popen(
        [sys.executable, "-m", "workers.intake.parser"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (bound, bound)),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        send(process.stdin, b'["application/pdf", "large.pdf"]')
        send(process.stdin, assemble([b"BT /F1 9 Tf (letters) Tj ET " * 1_000_000]))
        assert receive(process.stdout) is None
    assert process.wait() == OUT_OF_MEMORY


def test_leaving_a_pool_ends_what_it_is_at() -> None:
    before = children()
    with ParserPool(2) as pool:
        pending = [pool.submit(PDF, LONG, "long.pdf") for _ in range(4)]
        new_child(before)
    assert all(one.done() for one in pending)
    assert children() == before


def test_a_reading_that_is_closed_early_leaves_no_process() -> None:
    before = children()
    reading = read_many((Source(f"{number}", body) for number, body in enumerate([PAGE, LONG, LONG])), processes=1)
    assert isinstance(next(reading), Taken)
    assert len(children() - before) == 1
    reading.close()
    assert children() == before


def test_text_starts_no_process() -> None:
    before = children()
    reading = read_many(Source(f"{number}", b"text") for number in range(10))
    assert isinstance(next(reading), Taken)
    assert children() == before
    reading.close()


def test_a_parser_sees_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "planted-key")
    before = children()
    with ParserPool(1) as pool:
        assert pool.submit(HTML, b"<p>page</p>", "page.html").result().text == "page"
        process = Path("/proc", str(new_child(before)))
        assert b"workers.intake.parser" in (process / "cmdline").read_bytes()
        assert b"page.html" not in (process / "cmdline").read_bytes()
        assert b"planted-key" not in (process / "environ").read_bytes()


def test_a_folder_named_workers_where_we_stand_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "__init__.py").write_text("raise SystemExit('not ours')")
    monkeypatch.chdir(tmp_path)
    with ParserPool(1) as pool:
        assert pool.submit(PDF, PAGE, "lease.pdf").result().pages == 1


@pytest.fixture(scope="module")
def many_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("many")
    for number in range(10_000):
        folder = root / f"{number // 1000}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number:05}.txt").write_text(f"Letter {number}: " + "the lease ends on 31 March. " * 20)
    return root


@pytest.mark.alone
def test_ten_thousand_small_files_take_under_two_seconds_of_cpu(many_files: Path) -> None:
    start = time.process_time()
    assert sum(isinstance(one, Taken) for one in read_many(find([str(many_files)]))) == 10_000
    assert time.process_time() - start < 2


def test_memory_is_flat(many_files: Path) -> None:
    def peak(found: Iterator[Source | Unreadable]) -> int:
        tracemalloc.reset_peak()
        for _ in read_many(found):
            pass
        return tracemalloc.get_traced_memory()[1]

    tracemalloc.start()
    try:
        few, many = peak(find([str(many_files / "0")])), peak(find([str(many_files)]))
    finally:
        tracemalloc.stop()
    assert many - few < 9_000 * 200  # what remains is the memory of which files were seen


def test_look_ahead_is_bounded_in_bytes() -> None:
    begun = 0

    def large() -> Iterator[Source]:
        nonlocal begun
        yield Source("long.pdf", LONG)
        for number in range(100):
            begun += 1
            yield Source(f"{number}.txt", b"x" * 4_000_000)

    reading = read_many(large(), processes=1)
    next(reading)
    assert begun <= 17
    reading.close()
