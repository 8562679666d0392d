"""What the same tokens would have cost otherwise: on the strong model, or without the prompt cache.

Tokens of several calls may be reckoned together where they have the same price and multipliers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from config.prices import Price, plain
from tasks.model.call import Usage
from tasks.rules.pricing import reckoned


@dataclass(frozen=True, slots=True)
class Bought:
    """Tokens of answered calls of one day, bought at one price with the same multipliers."""

    day: str
    """As `2026-11-22`."""
    price: Price
    multipliers: Mapping[str, str]
    is_long: bool
    """Whether each prompt is over the other model's long-prompt threshold."""
    calls: int
    cost_nanousd: int
    usage: Usage


@dataclass(frozen=True, slots=True)
class Compared:
    """What was paid, and what would have been. Their difference is below zero where the other way was cheaper."""

    calls: int = 0
    paid_nanousd: int = 0
    otherwise_nanousd: int = 0

    @property
    def saved_nanousd(self) -> int:
        """What it saved."""
        return self.otherwise_nanousd - self.paid_nanousd


def without_cache(bought: Iterable[Bought]) -> Compared:
    """Calls that wrote to the cache or read from it, against all of their prompts as plain input."""
    cached = [each for each in bought if each.usage.prompt > each.usage.input]
    return _compared(cached, lambda each: reckoned(_uncached(each.usage), each.price, each.multipliers))


def all_on(bought: Iterable[Bought], price_of_day: Callable[[str], Price]) -> Compared:
    """Every call, as if the model with this price had answered it. An estimate: models count and write differently."""
    return _compared(bought, lambda each: _at(each, price_of_day(each.day)))


def _compared(bought: Iterable[Bought], otherwise: Callable[[Bought], int]) -> Compared:
    every = list(bought)
    return Compared(
        calls=sum(each.calls for each in every),
        paid_nanousd=sum(each.cost_nanousd for each in every),
        otherwise_nanousd=sum(otherwise(each) for each in every),
    )


def _at(each: Bought, price: Price) -> int:
    factors = {}
    if each.is_long and price.long_prompt_tokens is not None:
        factors["long_prompt"] = plain(price.long_prompt_factor)
    if "batch" in each.multipliers:
        factors["batch"] = plain(price.batch_factor)
    if "us_only" in each.multipliers:
        factors["us_only"] = plain(price.us_only_factor)
    return reckoned(each.usage, price, factors)


def _uncached(usage: Usage) -> Usage:
    return replace(usage, input=usage.prompt, cache_write_5m=0, cache_write_1h=0, cache_read=0)
