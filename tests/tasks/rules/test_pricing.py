"""A bill that adds up."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.prices import KINDS, Price
from tasks.model.call import Usage
from tasks.rules.pricing import cost_nanousd, dollars, estimate_nanousd, priced, reckoned
from tests.values import HAIKU_PRICE

tokens = st.integers(0, 2_000_000)
usages = st.builds(Usage, tokens, tokens, tokens, tokens, tokens)

LONG = HAIKU_PRICE.model_copy(update={"long_prompt_tokens": 100_000, "long_prompt_factor": Decimal(5)})


@pytest.mark.parametrize(
    ("usage", "nanousd"),
    [
        (Usage(), 0),
        (Usage(input=1), 1_000),
        (Usage(output=1), 5_000),
        (Usage(cache_write_5m=1), 1_250),
        (Usage(cache_write_1h=1), 2_000),
        (Usage(cache_read=1), 100),
        (Usage(input=1_000_000, output=1_000_000), 6_000_000_000),
        (Usage(output=10, thinking=9), 50_000),
    ],
)
def test_each_kind_of_token_has_its_price(usage: Usage, nanousd: int) -> None:
    assert cost_nanousd(usage, HAIKU_PRICE) == nanousd


@given(usages, usages)
def test_two_calls_cost_what_their_tokens_cost_together(one: Usage, two: Usage) -> None:
    both = Usage(
        one.input + two.input,
        one.cache_write_5m + two.cache_write_5m,
        one.cache_write_1h + two.cache_write_1h,
        one.cache_read + two.cache_read,
        one.output + two.output,
    )
    assert cost_nanousd(one, HAIKU_PRICE) + cost_nanousd(two, HAIKU_PRICE) == cost_nanousd(both, HAIKU_PRICE)


@given(usages)
def test_a_batch_is_half_to_the_nano_dollar(usage: Usage) -> None:
    assert abs(2 * cost_nanousd(usage, HAIKU_PRICE, batch=True) - cost_nanousd(usage, HAIKU_PRICE)) <= 1


def test_us_only_inference_costs_a_tenth_more() -> None:
    assert cost_nanousd(Usage(input=10), HAIKU_PRICE, us_only=True) == 11_000


@pytest.mark.parametrize(
    ("usage", "nanousd"),
    [
        (Usage(input=100_000, output=1), 100_005_000),
        (Usage(input=100_001, output=1), 5 * 100_006_000),
        (Usage(input=1, cache_read=100_000), 5 * (1_000 + 10_000_000)),
    ],
)
def test_a_long_prompt_makes_every_token_dearer(usage: Usage, nanousd: int) -> None:
    assert cost_nanousd(usage, LONG) == nanousd


FRACTIONAL = LONG.model_copy(update={"input": Decimal("0.123456789"), "us_only_factor": Decimal("1.0625")})


@given(usages, st.sampled_from([HAIKU_PRICE, LONG, FRACTIONAL]), st.booleans(), st.booleans())
def test_a_cost_follows_from_its_tokens_its_price_and_its_multipliers(
    usage: Usage, price: Price, batch: bool, us_only: bool
) -> None:
    told = priced(usage, price, batch=batch, us_only=us_only)
    assert reckoned(usage, price, told.multipliers) == told.cost_nanousd
    exact = sum(getattr(usage, kind) * getattr(price, kind) for kind in KINDS) * 1_000
    for factor in (told.multipliers or {}).values():
        exact *= Decimal(factor)
    assert abs(told.cost_nanousd - exact) <= Decimal("0.5")
    long = price.long_prompt_tokens is not None and usage.prompt > price.long_prompt_tokens
    flags = {"long_prompt": long, "batch": batch, "us_only": us_only}
    assert set(told.multipliers or {}) == {name for name, holds in flags.items() if holds}


@given(usages, st.sampled_from(KINDS))
def test_no_token_is_priced_twice_and_thinking_is_part_of_the_answer(usage: Usage, kind: str) -> None:
    one_more = replace(usage, **{kind: getattr(usage, kind) + 1})
    more = cost_nanousd(one_more, HAIKU_PRICE) - cost_nanousd(usage, HAIKU_PRICE)
    assert more == getattr(HAIKU_PRICE, kind) * 1_000
    assert one_more.prompt - usage.prompt == (kind != "output")
    assert cost_nanousd(replace(usage, thinking=usage.output), HAIKU_PRICE) == cost_nanousd(usage, HAIKU_PRICE)


@given(characters=st.integers(0, 10_000_000), max_tokens=st.integers(1, 128_000))
def test_an_estimate_covers_the_longest_answer(characters: int, max_tokens: int) -> None:
    longest = cost_nanousd(Usage(input=characters // 2, output=max_tokens), HAIKU_PRICE, us_only=True)
    assert estimate_nanousd(characters, max_tokens, HAIKU_PRICE) >= longest


@pytest.mark.parametrize(
    ("nanousd", "text"),
    [
        (0, "$0.000000"),
        (1, "$0.000000001"),
        (1_234_567, "$0.001235"),
        (1_234_567_890_123, "$1,234.567890"),
        (-500_000_000, "-$0.500000"),
    ],
)
def test_dollars_for_a_person(nanousd: int, text: str) -> None:
    assert dollars(nanousd) == text
