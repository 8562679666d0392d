"""What calls are likely to use, by those there were."""

from __future__ import annotations

from math import ceil
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.model.call import Expected
from tasks.rules.expecting import ENOUGH, MOST_KEYS, WINDOW, Densities, Learned, Lengths, Sample

ROOM = 500


def sample(
    output: int = 100, *, characters: int = 4_000, uncached: int = 1_000, cached: int = 0, **other: str
) -> Sample:
    return Sample(other.get("recipe", "r"), other.get("model", "m"), ROOM, False, characters, uncached, cached, output)


def learned(*samples: Sample) -> Learned:
    return Learned(samples)


def expect(known: Learned, *, characters: int = 4_000, max_tokens: int = ROOM, is_pdf: bool = False) -> Expected:
    return known.expect("r", "m", characters, max_tokens, is_pdf=is_pdf)


lengths = st.lists(st.integers(0, 100_000), min_size=1, max_size=WINDOW + 50)
prompts = st.lists(
    st.tuples(st.integers(1, 10_000_000), st.integers(0, 5_000_000), st.integers(0, 100_000)), min_size=1, max_size=60
)


@pytest.mark.parametrize("count", [0, 1, ENOUGH - 1])
def test_few_calls_teach_nothing(count: int) -> None:
    careful = expect(Learned())
    assert careful == Expected(input=1_334, most_input=2_001, output=ROOM, most_output=ROOM, cache_read=0)
    assert expect(learned(*[sample()] * count)) == careful


def test_equal_calls_are_expected_to_come_again() -> None:
    assert expect(learned(*[sample(120)] * ENOUGH)) == Expected(
        input=1_001, most_input=1_001, output=120, most_output=120
    )


def test_output_is_a_deviation_above_the_mean_and_the_most_is_above_nearly_all() -> None:
    known = learned(*(sample(100 if each % 2 else 200) for each in range(100)))
    assert expect(known) == Expected(input=1_001, most_input=1_001, output=200, most_output=ceil(150 + 2.33 * 50))


def test_input_is_a_deviation_above_the_mean_and_the_most_is_above_nearly_all() -> None:
    known = learned(*(sample(uncached=800 if each % 2 else 1_200) for each in range(100)))
    assert (expect(known).input, expect(known).most_input) == (1_201, 1_000 + int(2.33 * 200) + 1)


def test_what_is_read_from_the_cache_is_apart() -> None:
    known = learned(*[sample(uncached=400, cached=600)] * ENOUGH)
    expected = expect(known)
    assert (expected.input, expected.cache_read) == (401, 600)


def test_each_recipe_model_kind_and_room_learns_for_itself() -> None:
    known = learned(*[sample(50, recipe="other")] * ENOUGH)
    assert expect(known).output == ROOM  # the recipe has no answers yet ...
    assert expect(known).input == 1_001  # ... but a character has as many tokens in any
    assert expect(known, is_pdf=True).input == 1_334
    short = learned(*[sample(ROOM)] * ENOUGH)
    assert expect(short, max_tokens=2 * ROOM).most_output == 2 * ROOM  # these were cut off, and may go on


def test_the_newest_calls_count() -> None:
    known = learned(*[sample(400)] * WINDOW, *[sample(10)] * WINDOW)
    assert expect(known).most_output == 10


def test_what_is_renewed_says_what_it_knows_and_leaves_the_rest() -> None:
    known = learned(*[sample(400)] * ENOUGH, *[sample(300, recipe="other")] * ENOUGH)
    known.renew(learned(*[sample(20)] * ENOUGH))
    assert expect(known).output == 20
    assert known.expect("other", "m", 1, ROOM).output == 300


def test_so_many_recipes_are_kept_in_mind_and_no_more() -> None:
    known = Learned()
    for each in range(MOST_KEYS + 1):
        for _ in range(ENOUGH):
            known.add(sample(10, recipe=str(each)))
    assert known.length("0", "m", ROOM) is None
    assert known.length(str(MOST_KEYS), "m", ROOM) is not None


@given(lengths)
def test_lengths_are_those_of_the_window_whatever_came_before(values: list[int]) -> None:
    found = Lengths()
    for value in values:
        found.add(value)
    kept = values[-WINDOW:]
    now = found.now()
    if len(kept) < ENOUGH:
        assert now is None
        return
    assert now is not None
    assert now.mean == pytest.approx(fmean(kept))
    assert now.deviation == pytest.approx(pstdev(kept), abs=1e-3)
    assert sum(value <= now.most for value in kept) >= 0.99 * len(kept)


@given(lengths, st.integers(1, 100_000))
def test_nothing_above_the_room_is_expected(values: list[int], room: int) -> None:
    known = learned(*(sample(value)._replace(max_tokens=room) for value in values))
    expected = known.expect("r", "m", 1_000, room)
    assert 0 <= expected.output <= room
    assert 0 <= expected.most_output <= room


@given(prompts)
def test_densities_add_up_to_the_tokens_there_were(values: list[tuple[int, int, int]]) -> None:
    found = Densities()
    for characters, uncached, cached in values:
        found.add(sample(characters=characters, uncached=uncached, cached=cached))
    now = found.now()
    if len(values) < ENOUGH:
        assert now is None
        return
    assert now is not None
    total = sum(characters for characters, _, _ in values)
    assert now.mean * total == pytest.approx(sum(uncached for _, uncached, _ in values))
    assert now.cached * total == pytest.approx(sum(cached for _, _, cached in values))
    assert now.deviation >= 0
