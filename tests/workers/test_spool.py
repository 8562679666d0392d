"""Answers on disk: whole or not at all, found by whoever comes after, and gone when the ledger has them."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.files import BadConfig
from tasks.model.call import Call, Kept, Usage
from tasks.model.fault import Unkeepable
from tests.values import HAIKU, an_answer
from workers import spool as module
from workers.spool import Spool, read, written

ROOT = Path(__file__).parents[2]


def kept(number: int = 0, text: str = "A parcel came.") -> Kept:
    call = Call(
        id=f"call-{number}",
        job_id=f"job-{number}",
        attempt=1,
        generation=2,
        model=HAIKU,
        max_tokens=100,
        shell_hash="s",
        document_hash="d",
        queued_ms=7,
        estimate_nanousd=900,
    )
    return Kept(f"token-{number}", call, an_answer(text, usage=Usage(input=3, cache_read=2, output=number)))


answers = st.builds(kept, st.integers(0, 10**6), st.text(max_size=60))


@given(st.lists(answers, max_size=5))
def test_what_was_written_is_read_again(several: list[Kept]) -> None:
    assert read(b"".join(map(written, several))) == (several, 0)


@given(st.lists(answers, min_size=1, max_size=4), st.data())
def test_of_a_file_that_ends_anywhere_every_whole_line_is_read(several: list[Kept], data: st.DataObject) -> None:
    lines = list(map(written, several))
    whole = b"".join(lines)
    end = data.draw(st.integers(0, len(whole)))
    complete = sum(sum(map(len, lines[: n + 1])) <= end for n in range(len(lines)))
    assert read(whole[:end]) == (several[:complete], 0)


@given(answers, answers, st.data())
def test_a_torn_line_takes_no_other_with_it(torn: Kept, whole: Kept, data: st.DataObject) -> None:
    piece = written(torn)[: data.draw(st.integers(0, len(written(torn)) - 1))]
    assert read(piece + written(whole)) == ([whole], 0)


@given(st.binary(max_size=200))
def test_rubbish_is_no_answer(rubbish: bytes) -> None:
    assert read(rubbish)[0] == []


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(b"[1,", b"[2,"), (b'"attempt"', b'"try"'), (b'"text"', b'"words"'), (b'{"id"', b'{"colour": "red", "id"')],
)
def test_an_answer_of_another_docmill_is_counted_and_left_to_a_person(
    tmp_path: Path, ours: bytes, theirs: bytes
) -> None:
    left(tmp_path, "worker-a")
    file = tmp_path / "worker-a.spool"
    content = written(kept(1)) + written(kept()).replace(ours, theirs, 1)
    assert content.count(theirs) == 1
    file.write_bytes(content + written(kept(2))[:-1])
    spool = Spool(tmp_path, "worker-b")
    (estate,) = spool.estates()
    assert (estate.kept, estate.unreadable) == ([kept(1)], 1)


def test_the_file_is_its_owners_alone_and_goes_with_the_process(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", "worker-a")
    (file,) = (tmp_path / "spool").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    spool.keep(kept())
    spool.done("call-0")
    spool.close()
    assert list((tmp_path / "spool").iterdir()) == []


def test_answers_that_the_ledger_does_not_have_stay(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "worker-a")
    for number in range(3):
        spool.keep(kept(number))
    spool.done("call-1")
    spool.close()
    heir = Spool(tmp_path, "worker-b")
    (estate,) = heir.estates()
    assert estate.owner == "worker-a"
    assert [each.call.id for each in estate.kept] == ["call-0", "call-1", "call-2"]
    heir.close()


def test_the_living_are_not_inherited_from(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "worker-a")
    spool.keep(kept())
    assert list(spool.estates()) == []
    other = Spool(tmp_path, "worker-b")
    assert list(other.estates()) == []
    assert other.living() == {"worker-a", "worker-b"}


def test_an_estate_is_one_heirs_at_a_time_until_it_is_discharged(tmp_path: Path) -> None:
    left(tmp_path, "worker-a")
    first, second = Spool(tmp_path, "worker-b"), Spool(tmp_path, "worker-c")
    for estate in first.estates():
        assert list(second.estates()) == []
        assert estate.owner == "worker-a"
    for estate in second.estates():
        estate.discharge()
    assert list(first.estates()) == []


def test_what_cannot_be_settled_is_put_aside_whole(tmp_path: Path) -> None:
    left(tmp_path, "worker-a")
    spool = Spool(tmp_path, "worker-b")
    for estate in spool.estates():
        estate.set_aside()
    assert list(spool.estates()) == []
    (aside,) = tmp_path.glob("*.unsettled")
    assert read(aside.read_bytes()) == ([kept()], 0)


def test_the_file_stays_small_and_keeps_what_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMPACT_BYTES", 5_000)
    spool = Spool(tmp_path, "worker-a")
    spool.keep(kept(999_999))
    for number in range(1_000):
        spool.keep(kept(number))
        spool.done(f"call-{number}")
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 8_000
    (file,) = tmp_path.iterdir()
    assert kept(999_999) in read(file.read_bytes())[0]
    assert spool.living() == {"worker-a"}, "a new file is locked before it takes the old one's place"


def test_a_killed_process_leaves_its_answers_and_its_lock(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.workers.test_spool import Spool, kept\n"
        "spool = Spool(Path(sys.argv[1]), 'worker-a'); spool.keep(kept(1)); print('kept', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout
    process.stdout.readline()
    spool = Spool(tmp_path, "worker-b")
    process.send_signal(signal.SIGSTOP)
    assert list(spool.estates()) == [], "a stopped process lives"
    process.kill()
    process.communicate()
    assert [estate.kept for estate in spool.estates()] == [[kept(1)]]


def test_a_disk_that_takes_no_more_stops_calls_before_they_are_sent(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "worker-a")
    spool.keep(kept(1))
    spool.check()
    with largest_file(400):
        spool.keep(kept(2, "x" * 500))
        with pytest.raises(Unkeepable, match=r"^spool .*: (No space left on device|File too large)$"):
            spool.check()
    spool.check()
    (file,) = tmp_path.glob("*.spool")
    assert [each.call.id for each in read(file.read_bytes())[0]] == ["call-1", "call-2"], "it had been kept in memory"


def test_a_disk_with_little_space_left_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, "worker-a")
    monkeypatch.setattr(module, "RESERVE_BYTES", 10**18)
    with pytest.raises(Unkeepable, match="free on its disk"):
        spool.check()


def test_a_folder_that_cannot_be_is_one_line_for_a_person(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadConfig, match=r"^spool .*: .*DOCMILL_HOME$"):
        Spool(tmp_path / "file" / "spool", "worker-a")


def test_keeping_an_answer_takes_microseconds(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "worker-a")
    answer = kept(1, "word " * 200)
    calls = [replace(answer, call=replace(answer.call, id=f"call-{n}")) for n in range(5_000)]
    began = time.process_time()
    for each in calls:
        spool.check()
        spool.keep(each)
        spool.done(each.call.id)
    assert (time.process_time() - began) / len(calls) < 100e-6, "generous: a busy machine is several times slower"


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """No file of this process may grow beyond this: the disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def left(folder: Path, owner: str) -> None:
    spool = Spool(folder, owner)
    spool.keep(kept())
    spool.close()
