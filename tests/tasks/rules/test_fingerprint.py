"""Which faults are the same fault."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.rules.fingerprint import DIGITS, fingerprint, pattern


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("silent for 30 s", "silent for # s"),
        ("document 'inv-7.pdf': 212,400 tokens, model takes 200,000", "document #: # tokens, model takes #"),
        ('document "Anna\'s.txt": no text in it', "document #: no text in it"),
        ("Claude's answer isn't JSON", "Claude's answer isn't JSON"),
        ("Claude answered 400 invalid_request_error", "Claude answered # invalid_request_error"),
        ("job job-01a204aae87b629122174d: claimed", "job #: claimed"),
        ("request req_011CSHoEeqs5C35K2UUqR7Fy failed", "request # failed"),
        ("internal error: KeyError at document.py:57", "internal error: KeyError at document.py:#"),
        ("6f1c2b9e-8a3d-4c55-9f00-0123456789ab is no id", "# is no id"),
        ("hash 9f86d081884c7d659a2feaa0c55ad015 differs", "hash # differs"),
        ("at 2026-11-22T19:17:22.5", "at #-#-#T#"),
        ("two\n lines,  blanks", "two lines, blanks"),
        ("defaced facade", "defaced facade"),
        ("", ""),
    ],
)
def test_what_differs_from_job_to_job_is_left_out(message: str, expected: str) -> None:
    assert pattern(message) == expected


@given(st.integers(min_value=0), st.integers(min_value=0), st.text(st.characters(exclude_characters="'\"")))
def test_other_numbers_and_names_are_the_same_fault(one: int, other: int, name: str) -> None:
    first, second = (f"document '{said}': {n:,} tokens" for said, n in ((name, one), ("inv", other)))
    assert fingerprint("TooLong", 413, None, first) == fingerprint("TooLong", 413, None, second)


@given(st.text())
def test_a_pattern_is_one_line_and_its_own_pattern(message: str) -> None:
    said = pattern(message)
    assert "\n" not in said
    assert pattern(said) == said


def test_kind_status_code_and_wording_tell_faults_apart() -> None:
    sorts = [
        ("Rejected", 400, "invalid_request_error", "no"),
        ("TooLong", 400, "invalid_request_error", "no"),
        ("Rejected", 422, "invalid_request_error", "no"),
        ("Rejected", 400, None, "no"),
        ("Rejected", 400, "invalid_request_error", "nothing"),
        (None, None, None, None),
    ]
    names = {fingerprint(*sort) for sort in sorts}
    assert len(names) == len(sorts)
    assert {len(name) for name in names} == {DIGITS}
