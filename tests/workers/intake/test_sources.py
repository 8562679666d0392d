from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from config.catalogue import Complexity
from workers.intake import MAX_BYTES, BadSource, Source, Taken, Unreadable, find, read_many
from workers.intake.files import take


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(*names: str) -> None:
    for name in names:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"This is {name.encode(errors='replace').decode()}.")


def told(found: Iterable[Source | Unreadable]) -> list[str]:
    """Names of what is read, and the whole line of what is not."""
    return [one.name if isinstance(one, Source) else f"{type(one).__name__} {one}" for one in found]


def jsonl(*lines: object, name: str = "jobs.jsonl") -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return name


@contextmanager
def not_root() -> Iterator[None]:
    """Root may read everything: be nobody for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


class TestNames:
    @pytest.mark.parametrize(
        ("names", "found"),
        [
            (["b.txt", "a.txt"], ["b.txt", "a.txt"]),
            (["in"], ["in/1.txt", "in/10.txt", "in/2.txt", "in/sub/3.md"]),
            (["./in/"], ["in/1.txt", "in/10.txt", "in/2.txt", "in/sub/3.md"]),
            (["in/*.txt"], ["in/1.txt", "in/10.txt", "in/2.txt"]),
            (["**/*.md"], ["in/sub/3.md"]),
            (["*.txt"], ["a.txt", "b.txt"]),
            (["in/s*"], ["in/sub/3.md"]),
            (["in/sub", "in", "in/1.txt"], ["in/sub/3.md", "in/1.txt", "in/10.txt", "in/2.txt"]),
            (["a.txt", "./a.txt", "in/../a.txt"], ["a.txt"]),
            (["in/.hidden"], ["in/.hidden"]),
            (["[1].txt"], ["[1].txt"]),
        ],
    )
    def test_files_folders_and_globs_in_order_and_once(self, names: list[str], found: list[str]) -> None:
        write("a.txt", "b.txt", "in/2.txt", "in/10.txt", "in/1.txt", "in/sub/3.md")
        write("in/.hidden", "in/.git/config", "in/__pycache__/x.txt")
        if names == ["[1].txt"]:
            write("[1].txt")
        assert told(find(names)) == found

    def test_an_absolute_glob(self, folder: Path) -> None:
        write("in/1.txt", "in/2.md")
        assert told(find([f"{folder}/*/*.txt"])) == [f"{folder}/in/1.txt"]

    def test_a_hard_link_is_the_same_file(self) -> None:
        write("in/a.txt")
        os.link("in/a.txt", "in/b.txt")
        assert told(find(["in"])) == ["in/a.txt"]

    @pytest.mark.parametrize(
        ("names", "problem"),
        [
            (["a.txt", "b.txt"], "b.txt: no such file or folder"),
            (["*.pdf"], r"\*.pdf: the glob matches nothing"),
            ([""], "'' is no file name"),
            (["a\0b"], r"'a\\x00b' is no file name"),
            (["-", "-"], "'-' is named twice"),
            (["no\nsuch"], r"no\\nsuch: no such file"),
            *([(["a**"], r"a\*\*: not a glob")] if sys.version_info < (3, 13) else []),  # later ones know what it means
        ],
    )
    def test_a_slip_of_the_pen_stops_everything_before_the_first_document(self, names: list[str], problem: str) -> None:
        write("a.txt")
        with pytest.raises(BadSource, match=f"^{problem}"):
            find(names)

    @pytest.mark.parametrize(
        ("name", "seen"),
        [
            (b"two\nlines.txt", "two\\nlines.txt"),
            (b"caf\xe9.txt", "caf\\xe9.txt"),
            ("naïve – 文書.txt".encode(), "naïve – 文書.txt"),
            (b"-dash.txt", "-dash.txt"),
            (b"a" * 250, "a" * 250),
        ],
    )
    def test_odd_names_are_read_and_shown_on_one_line(self, name: bytes, seen: str) -> None:
        Path("in").mkdir()
        Path("in", os.fsdecode(name)).write_text("Dear Sir")
        for names in (["in"], ["in/*"], [os.path.join("in", os.fsdecode(name))]):  # noqa: PTH118 - as a shell hands it
            (taken,) = read_many(find(names))
            assert isinstance(taken, Taken)
            assert (taken.source.name, taken.document.text) == (f"in/{seen}", "Dear Sir")

    def test_folders_may_nest_deeper_than_the_recursion_limit(self) -> None:
        Path("z.txt").write_text("x")
        here = os.open(".", os.O_RDONLY)
        try:
            for _ in range(1200):
                os.mkdir("d")  # noqa: PTH102 - one level at a time: Path would make the whole name again each time
                os.chdir("d")
            os.fchdir(here)
            assert told(find(["."])) == ["z.txt"]
        finally:
            os.fchdir(here)
            os.close(here)
            subprocess.run(["rm", "-r", "d"], check=True)  # pytest's own clean-up is recursive


class TestLinksAndSpecialFiles:
    def test_links_out_of_a_folder_are_not_followed(self) -> None:
        write("in/a.txt", "out/secret.txt", "in/.keep/x.txt")
        Path("in/b-out.txt").symlink_to("../out/secret.txt")
        Path("in/c-folder").symlink_to("../out")
        Path("in/d-inside.txt").symlink_to("a.txt")
        Path("in/e-nowhere").symlink_to("missing")
        Path("in/f-hidden").symlink_to(".keep/x.txt")
        Path("in/g-loop").symlink_to("g-loop")
        Path("in/h-up").symlink_to("..")
        expected = [
            "in/a.txt",
            "Skipped in/b-out.txt: a link out of the folder; name its target to submit it",
            "Skipped in/c-folder: a link out of the folder; name its target to submit it",
            "Skipped in/e-nowhere: a link to nothing",
            "Skipped in/f-hidden: a link to something hidden; name its target to submit it",
            "Skipped in/g-loop: a link to nothing",
            "Skipped in/h-up: a link out of the folder; name its target to submit it",
        ]
        assert told(find(["in"])) == expected
        assert told(find(["in/**/*.txt"])) == ["in/a.txt"]

    def test_a_link_that_was_named_is_followed(self) -> None:
        write("out/a.txt")
        Path("link").symlink_to("out")
        Path("b.txt").symlink_to("out/a.txt")
        assert told(find(["link"])) == ["link/a.txt"]
        assert told(find(["b.txt", "out"])) == ["b.txt"]

    def test_what_is_no_file_is_skipped_without_waiting(self) -> None:
        write("in/a.txt")
        os.mkfifo("in/fifo")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("in/socket")
        expected = [
            "in/a.txt",
            "Skipped in/fifo: a FIFO, not a file; pipe its content in as '-'",
            "Skipped in/socket: a socket, not a file",
        ]
        assert told(find(["in"])) == expected
        assert told(find(["in/fifo", os.devnull])) == [expected[1], f"Skipped {os.devnull}: a device, not a file"]

    def test_a_jsonl_file_in_a_folder_is_not_taken_for_a_list(self) -> None:
        jsonl({"text": "x"}, name="in/results.jsonl")
        assert told(find(["in"])) == ["Skipped in/results.jsonl: a JSONL file in a folder; name it to submit its lines"]


class TestReadingFiles:
    def read(self, *names: str) -> list[str]:
        return [
            f"{one.source.name} = {one.document.text}" if isinstance(one, Taken) else f"{type(one).__name__} {one}"
            for one in read_many(find(names))
        ]

    def test_one_bad_file_does_not_stop_the_others(self) -> None:
        write("in/a.txt", "in/d.txt")
        Path("in/b.txt").write_bytes(b"")
        Path("in/c.png").write_bytes(b"\x89PNG\r\n\x1a\n\0")
        assert self.read("in") == [
            "in/a.txt = This is in/a.txt.",
            "Empty in/b.txt: nothing in it but blanks: give a document with text",
            "Skipped in/c.png: a PNG image; text, Markdown, HTML and PDF are read",
            "in/d.txt = This is in/d.txt.",
        ]

    def test_a_file_that_vanishes_or_turns_into_a_fifo_is_a_fault_of_its_own(self) -> None:
        write("a.txt", "b.txt", "c.txt")
        sources = list(find(["a.txt", "b.txt", "c.txt"]))
        Path("a.txt").unlink()
        Path("b.txt").unlink()
        os.mkfifo("b.txt")
        gone, fifo, fine = read_many(sources)
        assert str(gone) == "a.txt: it is no longer there: submit what took its place"
        assert str(fifo) == "b.txt: a FIFO, not a file; pipe its content in as '-'"
        assert isinstance(fine, Taken)

    @pytest.mark.parametrize("change", [b"", b"x" * 100, b"x" * 9_000, b"y" * 5_000])
    def test_a_file_that_changes_while_it_is_read_is_a_fault(self, change: bytes) -> None:
        path = Path("log.txt")
        path.write_bytes(b"x" * 5_000)
        os.utime(path, (1, 1))

        class Rewritten(io.FileIO):
            def read(self, size: int | None = -1, /) -> bytes:
                path.write_bytes(change)
                return super().read(-1 if size is None else size)

        with Rewritten(path) as handle, pytest.raises(Unreadable, match="changed while it was read"):
            take(handle, "log.txt")

    def test_files_of_any_length_are_read_whole(self) -> None:
        for length in (1, 4095, 4096, 4097, 10_000):
            Path("a.txt").write_text("x" * length)
            assert self.read("a.txt") == ["a.txt = " + "x" * length]

    def test_large_files_are_refused_before_they_are_read(self) -> None:
        with Path("big.txt").open("wb") as handle:
            handle.write(b"text " * 1000)
            handle.truncate(MAX_BYTES + 1)
        with Path("film.mkv").open("wb") as handle:
            handle.write(b"\x1a\x45\xdf\xa3" + bytes(range(256)) * 20)
            handle.truncate(10 * MAX_BYTES)
        assert self.read("big.txt", "film.mkv") == [
            "Unreadable big.txt: 33,554,433 bytes, 33,554,432 are taken: split it",
            "Skipped film.mkv: binary data; text, Markdown, HTML and PDF are read",
        ]

    def test_files_that_may_not_be_read_say_so(self, folder: Path) -> None:
        write("a.txt", "in/b.txt")
        Path("a.txt").chmod(0)
        Path("in").chmod(0)
        folder.chmod(0o755)
        with not_root():
            assert self.read("a.txt", "in") == [
                "Unreadable a.txt: no permission to read it: change its mode or its owner",
                "Unreadable in: cannot be read (Permission denied)",
            ]


class TestStdin:
    def test_stdin_is_one_document(self) -> None:
        (taken,) = read_many(find(["-"], stdin=io.BytesIO(b"Dear Sir")))
        assert isinstance(taken, Taken)
        assert (taken.source.name, taken.document.text) == ("stdin", "Dear Sir")

    def test_stdin_is_bounded(self) -> None:
        (fault,) = read_many(find(["-"], stdin=io.BytesIO(b"x" * (MAX_BYTES + 10))))
        assert str(fault) == "stdin: over 33,554,432 bytes, 33,554,432 are taken: split it"

    def test_jsonl_may_come_on_stdin(self) -> None:
        write("in/a.txt")
        lines = b'{"path": "in/a.txt"}\n{"id": 7, "text": "x"}\n{"text": "y"}'
        assert told(find([], jsonl=["-"], stdin=io.BytesIO(lines))) == ["in/a.txt", "7", "stdin:3"]


class TestJsonl:
    def test_a_line_says_what_and_how(self) -> None:
        write("deep/in/a.txt")
        name = jsonl(
            {
                "id": "inv-1",
                "path": "in/a.txt",
                "recipe": "answer",
                "complexity": "high",
                "values": {"question": "Who?"},
            },
            "\n",
            {"text": "<b>taken as it is</b>\r\n", "metadata": {"customer": 7, "tags": ["a", None]}},
            {"path": "in/a.txt"},
            name="deep/jobs.jsonl",
        )
        first, second, third = read_many(find([name]))
        assert isinstance(first, Taken)
        assert isinstance(second, Taken)
        assert isinstance(third, Taken)
        assert (first.source.name, first.source.recipe, first.source.complexity) == ("inv-1", "answer", Complexity.HIGH)
        assert (first.source.values, first.document.text) == ({"question": "Who?"}, "This is deep/in/a.txt.")
        assert (second.source.name, second.source.complexity) == ("deep/jobs.jsonl:3", None)
        assert (second.source.metadata, second.document.text) == (
            {"customer": 7, "tags": ["a", None]},
            "<b>taken as it is</b>\n",
        )
        assert second.document.media_type == "text/plain"
        assert third.source.name == "in/a.txt"

    @pytest.mark.parametrize(
        ("line", "problem"),
        [
            ('{"text": "x", "colour": 1}\n', "unknown key 'colour': use id, path, text, recipe"),
            ('{"text": "x", "path": "y"}\n', "give either 'path' or 'text'"),
            ("{}\n", "give either 'path' or 'text'"),
            ('{"text": "x", "complexity": "huge"}\n', "complexity: Input should be 'low', 'medium' or 'high'"),
            ('{"text": "x", "values": {"question": 7}}\n', "values.question: Input should be a valid string"),
            ('{"text": \n', "not JSON (Expecting value at column 9): one object per line"),
            ("[1]\n", "Input should be a valid dictionary"),
            ('{"text": "x", "metadata": {"n": NaN}}\n', "not JSON that can be kept"),
            ('{"text": "x", "metadata": {"n": ' + "[" * 100_000 + "]" * 100_000 + "}}\n", "not JSON that can be kept"),
            ('{"text": "x", "metadata": {"n": ' + "9" * 5000 + "}}\n", "not JSON that can be kept"),
            ('{"text": "x", "a\\n\\u001bb": 1}\n', "unknown key 'a\\nb':"),
        ],
        ids=range(11),
    )
    def test_a_bad_line_is_a_fault_with_its_place_and_the_rest_goes_on(self, line: str, problem: str) -> None:
        name = jsonl({"id": "before", "text": "x"}, line, {"id": "after", "text": "y"})
        before, fault, after = find([name])
        assert isinstance(fault, Unreadable)
        assert fault.name == "jobs.jsonl:2"
        assert fault.reason.startswith(problem)
        assert told([before, after]) == ["before", "after"]

    def test_bytes_that_are_not_utf8_are_a_fault_and_a_byte_order_mark_is_not(self) -> None:
        Path("jobs.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "x"}\n{"text": "caf\xe9"}\n')
        first, second = find(["jobs.jsonl"])
        assert told([first]) == ["jobs.jsonl:1"]
        assert str(second) == "jobs.jsonl:2: not UTF-8: save the file as UTF-8"

    def test_nuls_and_lone_surrogates_do_not_reach_the_ledger(self) -> None:
        name = jsonl({"id": "a\0b\ud800", "text": "a\0b\ud800", "metadata": {"k\0": ["\udfff\0"]}})
        (taken,) = read_many(find([name]))
        assert isinstance(taken, Taken)
        assert (taken.source.name, taken.document.text) == ("ab\ufffd", "ab\ufffd")
        assert taken.source.metadata == {"k": ["\ufffd"]}

    @pytest.mark.parametrize(
        ("path", "problem"),
        [
            ("gone.txt", "it is no longer there"),
            (".", "a folder, not a document"),
            ("f" * 300, "cannot be read (File name too long)"),
        ],
    )
    def test_a_line_may_name_a_file_that_cannot_be_read(self, path: str, problem: str) -> None:
        (fault,) = read_many(find([jsonl({"id": "a", "path": path})]))
        assert isinstance(fault, Unreadable)
        assert fault.name == "a"
        assert fault.reason.startswith(problem)

    def test_an_endless_line_is_passed_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("workers.intake.jsonl._MAX_LINE_BYTES", 1000)
        monkeypatch.setattr("workers.intake.jsonl.MAX_BYTES", 300)
        name = jsonl({"text": "x" * 5000}, {"id": "next", "text": "y"})
        assert [line.split(":")[0] for line in told(find([name]))] == ["Unreadable jobs.jsonl", "next"]
