from __future__ import annotations

import os
from pathlib import Path

from scripts.stack.logfile import LONGEST_LINE_BYTES, LogFile


def test_lines_come_whole_and_once(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "logs" / "worker.log")
    with log.open() as file:
        for text, lines in [(b"one\ntw", ["one"]), (b"o\r\n", ["two"]), (b"", []), ("né\n".encode(), ["né"])]:
            file.write(text)
            file.flush()
            assert log.new_lines() == lines
    assert log.tail() == ["one", "two", "né"]


def test_what_an_earlier_process_printed_is_kept_and_not_heard_again(tmp_path: Path) -> None:
    (tmp_path / "worker.log").write_text("old\n")
    log = LogFile(tmp_path / "worker.log")
    with log.open() as file:
        file.write(b"new\n")
    assert log.new_lines() == ["new"]
    assert (tmp_path / "worker.log").read_text() == "old\nnew\n"


def test_a_full_file_moves_aside_and_its_writer_goes_on(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "worker.log", limit_bytes=100)
    heard = []
    with log.open() as file:
        for number in range(100):
            file.write(f"line {number}\n".encode())
            file.flush()
            heard += log.new_lines()
    assert heard == [f"line {number}" for number in range(100)]
    assert (tmp_path / "worker.log").stat().st_size <= 110
    assert (tmp_path / "worker.log.1").stat().st_size <= 110


def test_a_file_that_somebody_emptied_or_removed_is_followed_all_the_same(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "worker.log")
    with log.open() as file:
        file.write(b"one\n")
        file.flush()
        assert log.new_lines() == ["one"]
        os.truncate(log.path, 0)
        file.write(b"2\n")
    assert log.new_lines() == ["2"]
    log.path.unlink()
    assert log.new_lines() == []
    with log.open() as file:
        file.write(b"3\n")
    assert log.new_lines() == ["3"]


def test_a_line_without_end_is_cut(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "worker.log")
    with log.open() as file:
        file.write(b"x" * (LONGEST_LINE_BYTES + 1))
    assert [len(line) for line in log.new_lines()] == [LONGEST_LINE_BYTES + 1]


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "worker.log")
    assert log.path.stat().st_mode & 0o077 == 0
