"""What many documents are likely to use and to cost."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.catalogue import Complexity
from config.prices import Price
from tasks.rules.estimating import Asked, Estimate, Range, guess, is_near, minutes, whole_jobs
from tasks.rules.expecting import ENOUGH, Learned, Sample
from tasks.rules.limiting import Amounts
from tests.values import HAIKU, HAIKU_PRICE, SONNET

ROOM = 500
ASKED = Asked("r", HAIKU, ROOM, is_pdf=False, characters=4_000)
LONG_PRICE = HAIKU_PRICE.model_copy(update={"long_prompt_tokens": 100_000, "long_prompt_factor": Decimal(5)})

samples = st.builds(
    Sample,
    st.sampled_from(["r", "s"]),
    st.sampled_from([HAIKU, SONNET]),
    st.just(ROOM),
    st.booleans(),
    st.integers(1, 1_000_000),
    st.integers(0, 500_000),
    st.integers(0, 10_000),
    st.integers(0, ROOM),
)


def sample(output: int, uncached: int = 1_000) -> Sample:
    return Sample("r", HAIKU, ROOM, False, 4_000, uncached, 0, output)


def test_without_calls_a_rule_of_thumb_says_so_and_its_range_is_wide() -> None:
    one = guess(ASKED, Learned())
    assert not one.calibrated
    assert one.prompt == Range(800, 1_143, 2_000)
    assert one.output == Range(50, 250, 500)


def test_calls_there_were_narrow_the_range_to_a_deviation() -> None:
    one = guess(ASKED, Learned(sample(100 if each % 2 else 140) for each in range(ENOUGH)))
    assert one.calibrated
    assert one.prompt == Range(1_000, 1_000, 1_000)
    assert one.output == Range(100, 120, 140)


def test_a_counted_prompt_is_certain() -> None:
    assert guess(ASKED, Learned(), counted=1_234).prompt == Range(1_234, 1_234, 1_234)


def test_a_document_that_is_asked_about_twice_costs_twice() -> None:
    calls = [("a", sample(ROOM)), ("b", sample(80)), ("a", sample(700)._replace(max_tokens=2 * ROOM))]
    first, other = whole_jobs(calls)
    assert (first.uncached, first.output, first.max_tokens, first.characters) == (2_000, 1_200, ROOM, 4_000)
    assert other == sample(80)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), samples), max_size=50))
def test_no_token_is_lost_between_calls_and_jobs(calls: list[tuple[str, Sample]]) -> None:
    jobs = list(whole_jobs(calls))
    assert len(jobs) == len({(job, one.model) for job, one in calls})
    for field in ("uncached", "cached", "output"):
        assert sum(getattr(one, field) for one in jobs) == sum(getattr(one, field) for _, one in calls)


@given(st.lists(samples, max_size=60), st.lists(st.tuples(st.integers(1, 1_000_000), st.booleans()), max_size=20))
def test_a_sum_is_its_routes_and_its_range_is_in_order(known: list[Sample], documents: list[tuple[int, bool]]) -> None:
    learned, estimate = Learned(known), Estimate()
    costs = []
    for characters, is_hard in documents:
        model = SONNET if is_hard else HAIKU
        one = guess(ASKED._replace(model=model, characters=characters), learned)
        estimate.of(Complexity.HIGH if is_hard else Complexity.LOW, model, LONG_PRICE).add(one, counted=False)
        costs.append(one.cost_nanousd(LONG_PRICE))
        assert one.output.high <= 2 * ROOM
    for total in (estimate.prompt, estimate.output, estimate.cost_nanousd):
        assert 0 <= total.low <= total.likely <= total.high
    assert estimate.cost_nanousd == tuple(sum(each[at] for each in costs) for at in range(3))
    assert estimate.documents == len(documents)


def test_a_model_without_a_price_has_an_unknown_cost_and_not_zero() -> None:
    estimate = Estimate()
    assert estimate.fields()["cost_nanousd"] == {"low": 0, "likely": 0, "high": 0}  # of nothing
    estimate.of(Complexity.LOW, HAIKU, None).add(guess(ASKED, Learned()), counted=False)
    assert estimate.unpriced == 1
    assert estimate.fields()["cost_nanousd"] is None
    assert estimate.fields()["routes"][0]["cost_nanousd"] is None


def test_a_long_prompt_pays_its_price() -> None:
    short, long = (guess(ASKED, Learned(), counted=tokens) for tokens in (100_000, 100_001))
    assert long.cost_nanousd(LONG_PRICE).likely > 4 * short.cost_nanousd(LONG_PRICE).likely


@pytest.mark.parametrize(
    ("tokens", "boundary", "near"),
    [
        (80_000, 100_000, True),
        (79_999, 100_000, False),
        (120_000, 100_000, True),
        (120_001, 100_000, False),
        (1, None, False),
    ],
)
def test_near_is_a_fifth_either_way(tokens: int, boundary: int | None, near: bool) -> None:
    assert is_near(tokens, boundary) is near


def _routes(price: Price | None = None) -> Estimate:
    estimate = Estimate()
    for _ in range(60):
        estimate.of(Complexity.LOW, HAIKU, price).add(guess(ASKED, Learned(), counted=1_000), counted=True)
        estimate.of(Complexity.HIGH, SONNET, price).add(guess(ASKED, Learned(), counted=1_000), counted=True)
    return estimate


@pytest.mark.parametrize(
    ("rates", "class_of", "took"),
    [
        ({HAIKU: Amounts(60, 1_000_000, 1_000_000), SONNET: Amounts(30, 0, 0)}, {}, 2.0),  # the slower of the two
        ({HAIKU: Amounts(0, 20_000, 0), SONNET: Amounts(60, 0, 0)}, {}, 3.0),  # 60,000 tokens in
        ({HAIKU: Amounts(60, 0, 1_500), SONNET: Amounts(60, 0, 0)}, {}, 10.0),  # 15,000 tokens out
        ({"all": Amounts(60, 0, 0)}, {HAIKU: "all", SONNET: "all"}, 2.0),  # one after the other
        ({HAIKU: Amounts(60, 0, 0)}, {}, None),
        ({HAIKU: Amounts(60, 0, 0), SONNET: Amounts()}, {}, None),
    ],
)
def test_time_is_the_slowest_class_at_its_tightest_limit(
    rates: dict[str, Amounts], class_of: dict[str, str], took: float | None
) -> None:
    assert minutes(_routes().routes.values(), rates, class_of) == took


def test_nothing_to_do_takes_no_time() -> None:
    assert minutes([], {}, {}) == 0
