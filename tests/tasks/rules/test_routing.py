"""Which model a job goes to, and for how long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.catalogue import Complexity
from tasks.model.fault import TooLong, Truncated, UnknownModel
from tasks.rules.routing import call_deadline_s, choose
from tests.values import HAIKU, SONNET, SUMMARIZE, a_document, a_job, catalogue


@pytest.mark.parametrize(
    ("complexity", "model"), [(Complexity.LOW, HAIKU), (Complexity.MEDIUM, HAIKU), (Complexity.HIGH, SONNET)]
)
def test_high_complexity_goes_to_the_strong_model(complexity: Complexity, model: str) -> None:
    route = choose(a_job(complexity=complexity), catalogue(), 30)
    assert (route.model, route.reason) == (model, f"complexity {complexity.value}")


def test_a_model_the_submitter_asks_for_wins() -> None:
    route = choose(a_job(model="claude-opus-5-5"), catalogue(), 30)
    assert route.model == "claude-opus-5-5"
    assert route.reason == "asked for by the submitter"
    assert route.disable_thinking


def test_an_unlisted_model_is_told_with_those_there_are() -> None:
    with pytest.raises(UnknownModel, match="'claude-2' is not in the catalogue"):
        choose(a_job(model="claude-2"), catalogue(), 30)


def test_a_scan_of_more_pages_than_the_model_takes_is_too_long() -> None:
    scan = a_document(None, pdf=b"%PDF-", pages=101)
    with pytest.raises(TooLong, match="101 pages without a text layer, claude-haiku"):
        choose(a_job(document=scan), catalogue(), 30)
    assert choose(a_job(document=scan, complexity=Complexity.HIGH), catalogue(), 30).model == SONNET


def test_max_tokens_stay_within_the_models_limit() -> None:
    greedy = SUMMARIZE.model_copy(update={"max_tokens": 1_000_000})
    assert choose(a_job(recipe=greedy), catalogue(), 30).max_tokens == 64_000


@pytest.mark.parametrize(
    ("max_tokens", "deadline_s"), [(1, 30), (600, 30), (1_000, 40), (4_000, 115), (23_400, 600), (128_000, 600)]
)
def test_the_deadline_follows_the_longest_answer(max_tokens: int, deadline_s: float) -> None:
    assert call_deadline_s(max_tokens) == deadline_s


@given(max_tokens=st.integers(1, 64_000), silence_s=st.floats(1, 700))
def test_a_plain_call_is_never_cut_off_as_silent(max_tokens: int, silence_s: float) -> None:
    recipe = SUMMARIZE.model_copy(update={"max_tokens": max_tokens})
    route = choose(a_job(recipe=recipe), catalogue(), silence_s)
    assert route.stream or route.deadline_s <= silence_s


def test_after_a_timeout_a_call_has_twice_the_time() -> None:
    first = choose(a_job(), catalogue(), 30)
    second = choose(a_job(faults={"TimedOut": 1, "ServerFailed": 2}), catalogue(), 30)
    assert second.deadline_s == 2 * first.deadline_s
    assert second.max_tokens == first.max_tokens


@pytest.mark.parametrize(("asked", "given"), [(500, 1000), (40_000, 64_000)])
def test_after_a_cut_answer_there_is_twice_the_room_the_model_allows(asked: int, given: int) -> None:
    recipe = SUMMARIZE.model_copy(update={"max_tokens": asked})
    assert choose(a_job(recipe=recipe, faults={"Truncated": 1}), catalogue(), 30).max_tokens == given


def test_what_was_cut_off_at_the_models_limit_is_not_sent_again() -> None:
    recipe = SUMMARIZE.model_copy(update={"max_tokens": 64_000})
    with pytest.raises(Truncated, match="64,000 tokens"):
        choose(a_job(recipe=recipe, faults={"Truncated": 1}), catalogue(), 30)
