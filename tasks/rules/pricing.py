"""What a call costs, exactly, in integer nano-dollars (10^-9 US dollars)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, localcontext

from config.prices import KINDS, Price, plain
from tasks.model.call import Usage

NANO = 1_000_000_000
PER_MTOK = Decimal(1_000_000)
CHARACTERS_PER_TOKEN = 2
"""The fewest there are in a token, as `prompting.length` counts them: numbers and base64 have about 2, English 4."""
PRECISION = 100
"""Digits: no product of tokens, rate and three factors has so many, so that nothing but the end is rounded."""


@dataclass(frozen=True, slots=True)
class Priced:
    """A cost, and what the rates were multiplied by, by name, where anything was."""

    cost_nanousd: int
    multipliers: Mapping[str, str] | None


def priced(usage: Usage, price: Price, *, batch: bool = False, us_only: bool = False) -> Priced:
    """Cost of one call, and how it came about: `reckoned` comes to the same from what is told here."""
    factors = {}
    if price.long_prompt_tokens is not None and usage.prompt > price.long_prompt_tokens:
        factors["long_prompt"] = plain(price.long_prompt_factor)
    if batch:
        factors["batch"] = plain(price.batch_factor)
    if us_only:
        factors["us_only"] = plain(price.us_only_factor)
    return Priced(reckoned(usage, price, factors), factors or None)


def reckoned(usage: Usage, price: Price, multipliers: Mapping[str, str] | None) -> int:
    """Cost in nano-dollars of these tokens at these rates, times the multipliers.

    The sum is exact; a fraction of a nano-dollar, which only fractional rates bring, is rounded half up once,
    at the end.
    """
    rates = price.nanousd_per_mtok
    total: int = sum(getattr(usage, kind) * rates[kind] for kind in KINDS)
    if not multipliers and total % 1_000_000 == 0:
        return total // 1_000_000
    with localcontext(prec=PRECISION):
        exact = Decimal(total)
        for factor in (multipliers or {}).values():
            exact *= Decimal(factor)
        return int((exact / PER_MTOK).to_integral_value(ROUND_HALF_UP))


def cost_nanousd(usage: Usage, price: Price, *, batch: bool = False, us_only: bool = False) -> int:
    """Cost of one call in nano-dollars; see `reckoned`."""
    return priced(usage, price, batch=batch, us_only=us_only).cost_nanousd


def estimate_nanousd(characters: int, max_tokens: int, price: Price) -> int:
    """What a call costs at most: a prompt of so many characters, the longest answer allowed, and all of it in the US.

    Whether Claude answers from the US is the workspace's setting, which no response tells before the first.
    """
    prompt_tokens = characters // CHARACTERS_PER_TOKEN + 1
    return cost_nanousd(Usage(input=prompt_tokens, output=max_tokens), price, us_only=True)


def dollars(nanousd: int) -> str:
    """The amount for a person: `$0.000123`, six digits, or as many as it takes to tell it from zero."""
    exact = Decimal(abs(nanousd)) / NANO
    digits = 6 if nanousd == 0 or exact >= Decimal("0.000001") else 9
    return f"{'-' if nanousd < 0 else ''}${exact:,.{digits}f}"
