"""What is sent can be shown again, exactly, from a shell and the document."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.model.fault import EmptyDocument, TooLong
from tasks.rules.prompting import LARGEST_REQUEST_BYTES, length, messages, render, shell_hash, write_prompt
from tests.values import ASK, SORT, SUMMARIZE, a_document


@given(text=st.text(min_size=1).filter(str.strip), question=st.text())
def test_the_prompt_is_its_shell_and_the_document(text: str, question: str) -> None:
    document = a_document(text)
    prompt = write_prompt(document, ASK, {"question": question})
    shown = render(prompt.shell, document)
    assert shown == {"system": prompt.system, "messages": list(messages(prompt)), "output_schema": None}
    assert question.strip() in shown["messages"][0]["content"][1]["text"] + " "


def test_many_documents_share_a_shell() -> None:
    one, two = (write_prompt(a_document(text), SORT, {}) for text in ("one", "two"))
    assert shell_hash(one.shell) == shell_hash(two.shell)
    assert "one" not in one.shell


def test_a_pdf_without_text_goes_as_it_is() -> None:
    prompt = write_prompt(a_document(None, pdf=b"%PDF-1.7", pages=3), SUMMARIZE, {})
    block = messages(prompt)[0]["content"][0]
    assert base64.b64decode(block["source"]["data"]) == b"%PDF-1.7"
    assert prompt.characters > 30_000


@pytest.mark.parametrize(
    ("text", "counted"),
    [("plain", 5), ("naïve", 6), ("письмо", 12), ("手紙です", 12), ("\U0001f4e6", 4), ("\udc80", 3)],
)
def test_a_character_beyond_ascii_counts_as_its_bytes(text: str, counted: int) -> None:
    assert length(text) == counted
    more = (
        write_prompt(a_document(f"A {text}"), SORT, {}).characters - write_prompt(a_document("A "), SORT, {}).characters
    )
    assert more == counted


def test_a_schema_counts_it_is_sent_too() -> None:
    with_schema, without = (
        write_prompt(a_document(), recipe, {}).characters
        for recipe in (SORT, SORT.model_copy(update={"output_schema": None}))
    )
    assert with_schema - without == len(SORT.schema_text)


@pytest.mark.parametrize("text", ["", " \n\t", None])
def test_nothing_to_ask_about_is_a_fault(text: str | None) -> None:
    with pytest.raises(EmptyDocument, match=r"letter\.txt"):
        write_prompt(a_document(text), SUMMARIZE, {})


def test_a_request_over_the_limit_is_never_sent() -> None:
    with pytest.raises(TooLong, match="32,000,003 bytes"):
        write_prompt(a_document("x" * (LARGEST_REQUEST_BYTES + 3)), SUMMARIZE, {})


def test_a_document_with_braces_is_left_alone() -> None:
    prompt = write_prompt(a_document("set {question} and {{x}}"), ASK, {"question": "{why}?"})
    texts = [part["text"] for part in messages(prompt)[0]["content"]]
    assert texts == ["<document>\nset {question} and {{x}}\n</document>", "Answer: {why}?"]
