"""Documents that are read twice: the same come both times, from memory, from files or from stdin."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.commands.shared.rereading import MOST_KEPT, Documents
from workers.intake import BadSource, Taken, Unreadable

FEW, MANY = 3, MOST_KEPT + 1


def lines(count: int) -> bytes:
    return b"".join(json.dumps({"text": f"letter {each}"}).encode() + b"\n" for each in range(count))


def stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def texts(documents: Iterator[Taken | Unreadable]) -> list[str | None]:
    return [each.document.text for each in documents if isinstance(each, Taken)]


@pytest.mark.parametrize("count", [FEW, MANY])
@pytest.mark.parametrize("source", ["file", "stdin"])
def test_they_come_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, source: str) -> None:
    name = "-"
    if source == "file":
        name = str(tmp_path / "post.jsonl")
        Path(name).write_bytes(lines(count))
    else:
        stdin(monkeypatch, lines(count))
    with Documents([], [name]) as documents:
        first = texts(documents.look())
        assert first == [f"letter {each}" for each in range(count)]
        assert texts(documents.read()) == first


def test_one_document_on_stdin_comes_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, b"a letter")
    with Documents(["-"], []) as documents:
        assert texts(documents.look()) == texts(documents.read()) == ["a letter"]


def test_a_name_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadSource):
        Documents([str(tmp_path / "none.txt")], [])
