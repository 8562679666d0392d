"""What a token costs: a local overrides file first, then the `genai-prices` package, else unknown.

The arithmetic is in `tasks.rules.pricing`.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from config.files import first_problem, read_toml

SHIPPED = Path(__file__).with_name("prices.toml")
KINDS = ("input", "cache_write_5m", "cache_write_1h", "cache_read", "output")
"""What has a rate of its own: the fields of `Price` and of `tasks.model.call.Usage` that are billed."""

HOUR_S = 3600

Rate = Annotated[Decimal, Field(ge=0, decimal_places=9)]
"""Dollars per million tokens, to the nano-dollar."""
Factor = Annotated[Decimal, Field(ge=0)]


def _zoned(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


Moment = Annotated[datetime, AfterValidator(_zoned)]
"""With a time zone: UTC where none is said. A date is its midnight."""


class Price(BaseModel):
    """One model's price in US dollars per million tokens, as published; see `source` and `version` for by whom."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = ""
    """Whose it is; empty in a file, whose entries are for several."""
    input: Rate
    output: Rate
    cache_write_5m: Rate
    cache_write_1h: Rate
    cache_read: Rate
    long_prompt_tokens: int | None = Field(default=None, gt=0)
    """Prompts above so many tokens (cached ones included) pay `long_prompt_factor` on every token, answers too."""
    long_prompt_factor: Factor = Decimal(1)
    batch_factor: Factor = Decimal("0.5")
    us_only_factor: Factor = Decimal("1.1")
    source: str = "overrides"
    version: str = ""

    def __copy__(self) -> Self:
        copied = super().__copy__()
        for reckoned in ("nanousd_per_mtok", "hash"):  # a copy may be given other rates
            copied.__dict__.pop(reckoned, None)
        return copied

    @cached_property
    def nanousd_per_mtok(self) -> dict[str, int]:
        """The rates in nano-dollars per million tokens, exactly, by kind."""
        return {kind: int(getattr(self, kind).scaleb(9)) for kind in KINDS}

    @cached_property
    def hash(self) -> str:
        """SHA-256 of all that it says, in hex: two that price alike, by the same source and version, are one."""
        factors = (self.long_prompt_factor, self.batch_factor, self.us_only_factor)
        said = [self.model, self.source, self.version, *self.nanousd_per_mtok.values(), self.long_prompt_tokens]
        return hashlib.sha256(json.dumps([*said, *map(plain, factors)]).encode()).hexdigest()


def plain(factor: Decimal) -> str:
    """A factor as it is written down: without zeros at its end, and without an exponent."""
    return format(factor.normalize(), "f")


class UnknownPrice(LookupError):
    """A model nobody gave us a price for: its calls cost an unknown amount, which is not zero."""


class Override(Price):
    """An entry of the overrides file: a price, the models it is for, and when it holds."""

    models: str = Field(min_length=1)
    """Glob over model ids."""
    valid_from: Moment = datetime.min.replace(tzinfo=UTC)
    valid_until: Moment = datetime.max.replace(tzinfo=UTC)
    """First moment it no longer holds."""

    def fits(self, model: str, at: datetime) -> bool:
        """Whether this entry prices `model` at the moment `at`, which must carry a time zone."""
        return fnmatchcase(model, self.models) and self.valid_from <= at < self.valid_until


class OverridesFile(BaseModel):
    """A whole overrides file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str = ""
    price: tuple[Override, ...] = ()


class PriceBook:
    """Prices by model and moment. Looking one up again within the hour costs little more than a dictionary access."""

    def __init__(self, files: tuple[OverridesFile, ...] = ()) -> None:
        self._entries = tuple(
            entry.model_copy(update={"version": file.version}) for file in files for entry in file.price
        )
        self._changes = sorted(moment for entry in self._entries for moment in (entry.valid_from, entry.valid_until))
        self._known: dict[tuple[str, int, int], Price] = {}

    def price(self, model: str, at: datetime) -> Price:
        """The price of `model` at the moment `at` (with time zone). Raises `UnknownPrice`."""
        # Published prices change on the hour, ours at any moment: between those one look-up holds for all.
        key = model, int(at.timestamp() // HOUR_S), bisect_right(self._changes, at)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._look_up(model, at)
        return found

    def _look_up(self, model: str, at: datetime) -> Price:
        for entry in self._entries:
            if entry.fits(model, at):
                said = {name: getattr(entry, name) for name in Price.model_fields}
                return Price(**{**said, "model": model})
        return _from_genai_prices(model, at)


def _from_genai_prices(model: str, at: datetime) -> Price:
    """The published price by the `genai-prices` data in its wheel; nothing is fetched. Raises `UnknownPrice`."""
    import genai_prices  # 0.3 s of import that a process without calls need not pay

    try:
        # One token: we want the rates; the sum is ours, exact and in integers.
        rates = genai_prices.calc_price(
            genai_prices.Usage(input_tokens=1), model, provider_id="anthropic", genai_request_timestamp=at
        ).model_price
    except LookupError:
        raise UnknownPrice(f"no price for model {model!r}: add it to prices.toml in your DOCMILL_HOME") from None

    def rate(unit: str) -> Decimal:
        value: Any = getattr(rates, unit, None)
        if not isinstance(value, Decimal | int):  # tiers and gaps have no one rate: an override must say
            raise UnknownPrice(f"model {model!r} has no single {unit!r}: add it to prices.toml in your DOCMILL_HOME")
        return Decimal(value)

    return Price(
        model=model,
        input=rate("input_mtok"),
        output=rate("output_mtok"),
        cache_write_5m=rate("cache_write_mtok"),
        cache_write_1h=rate("cache_write_1h_mtok"),
        cache_read=rate("cache_read_mtok"),
        source="genai-prices",
        version=genai_prices.__version__,
    )


def load_prices(home: Path) -> PriceBook:
    """The price book: `home/prices.toml` first, then the shipped overrides. Raises `BadConfig`."""
    return PriceBook(tuple(_read(path) for path in (home / "prices.toml", SHIPPED) if path.exists()))


def _read(path: Path) -> OverridesFile:
    try:
        return OverridesFile.model_validate(read_toml(path))
    except ValidationError as error:
        raise first_problem(path, error) from None
