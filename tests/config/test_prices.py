"""Prices: an override first, then the published one, else unknown; never zero by accident."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from config.catalogue import load_catalogue
from config.files import BadConfig
from config.prices import UnknownPrice, load_prices
from tests.values import HAIKU, SONNET

NOW = datetime(2026, 11, 22, tzinfo=UTC)


# In US dollars per million tokens, as published: in, out, 5 minute write, 1 hour write, read.
@pytest.mark.parametrize(
    ("model", "rates", "source"),
    [
        (HAIKU, ("1", "5", "1.25", "2", "0.1"), "genai-prices"),
        (SONNET, ("3", "15", "3.75", "6", "0.3"), "genai-prices"),
        ("claude-haiku-5-5", ("0.1", "0.5", "0.125", "0.2", "0.01"), "overrides"),
        ("claude-sonnet-5-5", ("2", "10", "2.5", "4", "0.1"), "overrides"),
    ],
)
def test_published_prices(tmp_path: Path, model: str, rates: tuple[str, ...], source: str) -> None:
    price = load_prices(tmp_path).price(model, NOW)
    told = (price.input, price.output, price.cache_write_5m, price.cache_write_1h, price.cache_read)
    assert told == tuple(Decimal(rate) for rate in rates)
    assert price.source == source
    assert price.version


def test_every_model_of_the_catalogue_has_a_price(tmp_path: Path) -> None:
    book = load_prices(tmp_path)
    for model in load_catalogue(tmp_path).models:
        assert book.price(model, NOW).output > 0


def test_a_price_holds_from_its_date(tmp_path: Path) -> None:
    book = load_prices(tmp_path)
    before, after = datetime(2026, 10, 6, 23, tzinfo=UTC), datetime(2026, 10, 7, tzinfo=UTC)
    assert book.price("claude-sonnet-5-5", before).cache_read == Decimal("0.20")
    assert book.price("claude-sonnet-5-5", after).cache_read == Decimal("0.10")


def test_an_own_price_wins(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text(
        """
        version = "contract-7"
        [[price]]
        models = "claude-haiku-*"
        input = "0.5"
        output = "2.5"
        cache_write_5m = "0.6"
        cache_write_1h = "1"
        cache_read = "0.05"
        """
    )
    price = load_prices(tmp_path).price(HAIKU, NOW)
    assert (price.output, price.source, price.version) == (Decimal("2.5"), "overrides", "contract-7")


def test_an_unknown_model_costs_an_unknown_amount(tmp_path: Path) -> None:
    with pytest.raises(UnknownPrice, match=r"no price for model 'claude-99'.*prices\.toml"):
        load_prices(tmp_path).price("claude-99", NOW)


def test_a_price_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text('[[price]]\nmodels = "x"\ninput = "-1"')
    with pytest.raises(BadConfig, match=r"prices\.toml: price\.0\.input"):
        load_prices(tmp_path)


def test_a_price_is_known_by_what_it_says(tmp_path: Path) -> None:
    book = load_prices(tmp_path)
    price = book.price(HAIKU, NOW)
    assert (price.model, len(price.hash)) == (HAIKU, 64)
    assert price.hash == load_prices(tmp_path).price(HAIKU, NOW).hash
    assert price.model_copy(update={"input": Decimal("1.000")}).hash == price.hash
    changes: list[dict[str, Any]] = [
        {"model": SONNET},
        {"version": "contract-7"},
        {"output": Decimal("5.000000001")},
        {"long_prompt_tokens": 200_000},
        {"us_only_factor": Decimal("1.2")},
    ]
    assert len({price.hash, *(price.model_copy(update=change).hash for change in changes)}) == len(changes) + 1


def test_a_rate_finer_than_a_nano_dollar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text('[[price]]\nmodels = "x"\ninput = "0.0000000001"')
    with pytest.raises(BadConfig, match=r"prices\.toml: price\.0\.input"):
        load_prices(tmp_path)


CHANGED = """
[[price]]
models = "claude-haiku-*"
valid_until = {until}
input = "0.5"
output = "2.5"
cache_write_5m = "0.6"
cache_write_1h = "1"
cache_read = "0.05"

[[price]]
models = "claude-haiku-*"
valid_from = {begin}
input = "0.7"
output = "3.5"
cache_write_5m = "0.8"
cache_write_1h = "1.4"
cache_read = "0.07"
"""


@pytest.mark.parametrize(
    "said", ["2026-11-22", "2026-11-22T00:00:00", '"2026-11-22T00:00:00"', "2026-11-22T05:30:00+05:30"]
)
def test_a_date_or_a_time_without_a_zone_is_in_utc(tmp_path: Path, said: str) -> None:
    (tmp_path / "prices.toml").write_text(CHANGED.format(until=said, begin=said))
    book = load_prices(tmp_path)
    assert book.price(HAIKU, NOW - timedelta(hours=1)).output == Decimal("2.5")
    assert book.price(HAIKU, NOW).output == Decimal("3.5")


def test_a_price_holds_from_its_very_moment(tmp_path: Path) -> None:
    midnight_in_delhi = datetime(2026, 11, 21, 18, 30, tzinfo=UTC)
    said = "2026-11-22T00:00:00+05:30"
    (tmp_path / "prices.toml").write_text(CHANGED.format(until=said, begin=said))
    book = load_prices(tmp_path)
    for moment in (midnight_in_delhi, midnight_in_delhi - timedelta(microseconds=1)) * 2:
        assert book.price(HAIKU, moment).output == Decimal("3.5" if moment == midnight_in_delhi else "2.5")
