"""What routing and caching saved."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from config.prices import Price
from tasks.model.call import Usage
from tasks.rules.comparing import Bought, Compared, all_on, without_cache
from tasks.rules.pricing import priced
from tests.values import HAIKU_PRICE

STRONG = Price(
    input=Decimal(3),
    output=Decimal(15),
    cache_write_5m=Decimal("3.75"),
    cache_write_1h=Decimal(6),
    cache_read=Decimal("0.3"),
)
TIERED = STRONG.model_copy(update={"long_prompt_tokens": 100, "long_prompt_factor": Decimal(2)})
tokens = st.integers(0, 1_000_000)
usages = st.builds(Usage, tokens, tokens, tokens, tokens, tokens)


def a_purchase(usage: Usage, price: Price = HAIKU_PRICE, *, us_only: bool = False) -> Bought:
    told = priced(usage, price, us_only=us_only)
    is_long = usage.prompt > (TIERED.long_prompt_tokens or 0)
    return Bought("2026-11-22", price, told.multipliers or {}, is_long, 1, told.cost_nanousd, usage)


def test_reading_from_the_cache_saves_and_writing_alone_costs() -> None:
    wrote, read = a_purchase(Usage(input=10, cache_write_5m=1_000)), a_purchase(Usage(input=10, cache_read=1_000))
    assert without_cache([wrote]).saved_nanousd == -250_000
    assert without_cache([read]).saved_nanousd == 900_000
    assert without_cache([wrote, read, a_purchase(Usage(input=5))]).calls == 2


@given(st.lists(usages, max_size=5), st.booleans())
def test_calls_on_the_strong_model_itself_saved_nothing(used: list[Usage], us_only: bool) -> None:
    bought = [a_purchase(usage, STRONG, us_only=us_only) for usage in used]
    assert all_on(bought, lambda _day: STRONG).saved_nanousd == 0


@given(st.lists(usages, max_size=5))
def test_every_call_is_compared_at_the_strong_models_price(used: list[Usage]) -> None:
    compared = all_on([a_purchase(usage) for usage in used], lambda _day: TIERED)
    paid = sum(priced(usage, HAIKU_PRICE).cost_nanousd for usage in used)
    assert compared == Compared(len(used), paid, sum(priced(usage, TIERED).cost_nanousd for usage in used))
