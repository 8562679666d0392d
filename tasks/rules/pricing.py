"""What a call costs, exactly, in integer nano-dollars (10^-9 US dollars)."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from config.prices import Price
from tasks.model.call import Usage

NANO = 1_000_000_000
NANOUSD_PER_TOKEN = Decimal(1_000)
"""One US dollar per million tokens, in nano-dollars per token."""
CHARACTERS_PER_TOKEN = Decimal("3.0")
"""Low on purpose: an estimate of tokens from characters should not fall short. English text has about 4."""


def cost_nanousd(usage: Usage, price: Price, *, batch: bool = False, us_only: bool = False) -> int:
    """Cost of one call in nano-dollars.

    The sum is exact; a fraction of a nano-dollar, which only fractional rates bring, is rounded half up once,
    at the end.
    """
    total = (
        usage.input * price.input
        + usage.cache_write_5m * price.cache_write_5m
        + usage.cache_write_1h * price.cache_write_1h
        + usage.cache_read * price.cache_read
        + usage.output * price.output
    )
    if price.long_prompt_tokens is not None and usage.prompt > price.long_prompt_tokens:
        total *= price.long_prompt_factor
    if batch:
        total *= price.batch_factor
    if us_only:
        total *= price.us_only_factor
    return int((total * NANOUSD_PER_TOKEN).to_integral_value(ROUND_HALF_UP))


def estimate_nanousd(characters: int, max_tokens: int, price: Price) -> int:
    """What a call would cost at most: a prompt of so many characters, and the longest answer allowed."""
    prompt_tokens = int(characters / CHARACTERS_PER_TOKEN) + 1
    return cost_nanousd(Usage(input=prompt_tokens, output=max_tokens), price)


def dollars(nanousd: int) -> str:
    """The amount for a person: `$0.000123`, six digits, or as many as it takes to tell it from zero."""
    exact = Decimal(nanousd) / NANO
    digits = 6 if nanousd == 0 or abs(exact) >= Decimal("0.000001") else 9
    return f"${exact:,.{digits}f}"
