"""What routing and caching saved, for `docmill costs`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

from config.catalogue import Complexity, load_catalogue
from config.prices import Price, UnknownPrice, load_prices
from tasks.rules.comparing import Compared, all_on, without_cache
from tasks.rules.days import begin_of
from workers.ledger import Database
from workers.ledger.comparing import bought


@dataclass(frozen=True, slots=True)
class Saved:
    """Both comparisons. `routing` is None where the strong model has no price."""

    strong_model: str
    routing: Compared | None
    caching: Compared


def saved(database: Database, home: Path, zone: ZoneInfo, *, since: str | None, until: str | None) -> Saved:
    """What was paid in these days, against all on the strong model and against no cache. Raises `BadConfig`."""
    strong = load_catalogue(home).routes[Complexity.HIGH]
    book = load_prices(home)

    @cache
    def price_of(day: str) -> Price:
        return book.price(strong, begin_of(day, zone))

    lines = bought(database, long_over=None, since=since, until=until)
    try:
        thresholds = {price_of(line.day).long_prompt_tokens for line in lines} - {None}
        if thresholds:  # hardly ever: strong models price all prompts alike
            lines = bought(database, long_over=min(filter(None, thresholds)), since=since, until=until)
        routing = all_on(lines, price_of)
    except UnknownPrice:
        routing = None
    return Saved(strong, routing, without_cache(lines))
