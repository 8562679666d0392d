"""Nobody downstream sees an answer that is not what was asked for."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.model import fault as faults
from tasks.model.fault import BadOutput, Fault
from tasks.rules.contract import read
from tests.values import SORT, SUMMARIZE, an_answer


def test_free_text_is_taken_as_it_is() -> None:
    assert read(an_answer("  A parcel came.\n"), SUMMARIZE) == "A parcel came."


def test_json_is_taken_in_canonical_form() -> None:
    assert read(an_answer('{ "kind": "letter",\n "pages": 2 }'), SORT) == '{"kind":"letter","pages":2}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"pages": 2}', "breaks the schema at required"),
        ('{"kind": "poem"}', "breaks the schema at properties/kind/enum"),
        ('{"kind": "letter", "secret": 1}', "breaks the schema at additionalProperties"),
    ],
)
def test_broken_json_is_told_by_its_place(text: str, said: str) -> None:
    with pytest.raises(BadOutput, match=said):
        read(an_answer(text), SORT)


@given(st.text(min_size=1))
def test_a_fault_never_quotes_the_answer(text: str) -> None:
    planted = "PLANTED-" + text
    with pytest.raises(BadOutput) as caught:
        read(an_answer(json.dumps({"kind": planted})), SORT)
    assert "PLANTED" not in repr(caught.value)


def test_an_empty_answer_is_none() -> None:
    with pytest.raises(BadOutput, match="empty"):
        read(an_answer(" \n"), SUMMARIZE)


@pytest.mark.parametrize(
    ("stop_reason", "kind"),
    [
        ("refusal", faults.Refused),
        ("max_tokens", faults.Truncated),
        ("model_context_window_exceeded", faults.TooLong),
        ("", faults.Interrupted),
        ("pause_turn", faults.Interrupted),
    ],
)
def test_the_stop_reason_comes_before_the_text(stop_reason: str, kind: type[Fault]) -> None:
    with pytest.raises(kind):
        read(an_answer('{"kind": "letter"}', stop_reason=stop_reason), SORT)
