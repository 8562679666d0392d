"""The provider's usage or cost export as lines that can be compared with the ledger.

Formats, told apart by what they hold; columns and fields by any of the names below, in any order, others ignored:

- the console's usage CSV: `usage_date_utc`, `model_version`, `usage_input_tokens_no_cache`, ... a row for each day,
  model and key, with tokens by kind;
- the console's cost CSV: `usage_date_utc`, `model`, `token_type`, `cost_usd`: a row for each kind of token, rounded;
- the Admin API's reports as JSON, one page or a list of pages: `usage_report/messages` (buckets with tokens by kind)
  and `cost_report` (buckets with `amount`, a decimal string in cents), both grouped by model;
- the simulator's bill, `GET /_sim/bill` or `/_sim/bill.jsonl`: a row for each request, to the nano-dollar.

Nothing here reads a file.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from tasks.model.call import Usage
from tasks.rules.pricing import NANO

CENTS_PER_DOLLAR = 100
BEYOND_ANY_BILL = 10**18
"""No bill has so many tokens, dollars or nano-dollars in a row; arithmetic with any number would have no end."""


class Unreadable(ValueError):
    """An export that holds nothing of the kind: one line for a person."""


@dataclass(frozen=True, slots=True)
class BillLine:
    """What the provider says of a day, a model and perhaps one kind of token, or of one request."""

    day: str
    """As `2026-11-22`, in UTC: the provider's days are."""
    model: str
    """As it says it: an id, or a name such as `Claude Haiku 4.5`."""
    usage: Usage | None = None
    """None where it tells no tokens."""
    cost_nanousd: int | None = None
    """None where it tells no cost."""
    rounding_nanousd: int = 0
    """Half a unit of the cost's last digit: the true one is so near."""
    request_id: str | None = None
    """Of a charged request, where the export has a row for each."""


DAY = (
    "usage_date_utc",
    "usage_date",
    "date_utc",
    "date",
    "day",
    "starting_at",
    "start_time",
    "bucket_start_time",
    "at",
)
MODEL = ("model_version", "model", "model_id", "model_name")
COST = ("cost_usd", "cost", "usd", "total_cost_usd", "amount_usd")
CENTS = ("amount", "amount_cents", "cost_cents")
NANOUSD = ("nanousd", "cost_nanousd")
TOKENS: Mapping[str, tuple[str, ...]] = {
    "input": ("usage_input_tokens_no_cache", "uncached_input_tokens", "input_tokens_no_cache", "input_tokens"),
    "cache_write_5m": (
        "usage_input_tokens_cache_write_5m",
        "cache_creation.ephemeral_5m_input_tokens",
        "cache_creation_5m_tokens",
        "cache_write_5m_tokens",
        "usage_input_tokens_cache_write",
        "cache_creation_input_tokens",
    ),
    "cache_write_1h": (
        "usage_input_tokens_cache_write_1h",
        "cache_creation.ephemeral_1h_input_tokens",
        "cache_creation_1h_tokens",
        "cache_write_1h_tokens",
    ),
    "cache_read": (
        "usage_input_tokens_cache_read",
        "cache_read_input_tokens",
        "cache_read_tokens",
        "input_tokens_cache_read",
    ),
    "output": ("usage_output_tokens", "output_tokens"),
}


def read_bill(text: str) -> list[BillLine]:
    """The lines of an export. Raises `Unreadable`."""
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise Unreadable("it is empty")
    try:
        rows = list(_json_rows(text)) if text.lstrip()[0] in "[{" else list(_csv_rows(text))
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None
    lines = [line for number, row in enumerate(rows, 1) if (line := _line(row, number)) is not None]
    if rows and not lines and not any(row.get("charged") is False for row in rows):
        raise Unreadable("no row in it has a day, a model, and tokens or a cost: group the API's reports by model")
    return lines


def _csv_rows(text: str) -> Iterator[Mapping[str, Any]]:
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        names = {_name(name) for name in reader.fieldnames or ()}
        if names.isdisjoint(DAY) or names.isdisjoint(MODEL):
            raise Unreadable("it is neither JSON nor CSV whose header names a day and a model")
        for row in reader:
            yield {_name(key): value for key, value in row.items() if key is not None}
    except csv.Error as error:
        raise Unreadable(f"row {reader.line_num}: {error}") from None


def _json_rows(text: str) -> Iterator[Mapping[str, Any]]:
    try:
        pages = [json.loads(text)]
    except ValueError as whole:  # no JSON, or an integer of more digits than Python reads
        try:
            pages = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError:
            raise Unreadable(f"it is no JSON: {whole}") from None
    last = pages[0][-1] if isinstance(pages[0], list) and pages[0] else pages[-1]
    if isinstance(last, Mapping) and last.get("has_more") is True:
        raise Unreadable("it ends with has_more: fetch the other pages too, and put them all into one JSON list")
    yield from _of_value(pages, {})


def _of_value(value: object, outer: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Rows anywhere within lists, pages (`data`, `requests`) and buckets (`results`), which give theirs their day."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        for each in value:
            yield from _of_value(each, outer)
    elif isinstance(value, Mapping):
        inner = next(
            (value[name] for name in ("data", "requests", "results") if isinstance(value.get(name), list)), None
        )
        if inner is not None:
            yield from _of_value(inner, {**outer, **_plain(value)})
        else:
            yield {**outer, **_flat(value)}


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    return {_name(name): each for name, each in value.items() if isinstance(each, str | int | float)}


def _flat(value: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object's fields, those of its `usage` among them, those of others as `cache_creation.ephemeral_...`."""
    flat = _plain(value)
    for name, each in value.items():
        if isinstance(each, Mapping):
            prefix = "" if name == "usage" else f"{name}."
            flat |= {f"{prefix}{inner}": found for inner, found in _flat(each).items()}
    return flat


def _line(row: Mapping[str, Any], number: int) -> BillLine | None:
    """None for a row that says nothing of the kind, such as a web search or a request that was not charged."""
    day, model = _found(row, DAY), _found(row, MODEL)
    if day is None or model is None or row.get("charged") is False:
        return None
    try:
        usage = _usage(row)
        cost, rounding = _cost(row)
        if usage is None and cost is None:
            return None
        request_id = row.get("request_id")
        return BillLine(_day(day), str(model).strip(), usage, cost, rounding, str(request_id) if request_id else None)
    except (InvalidOperation, ValueError, OverflowError, OSError):  # the last for a moment beyond the calendar
        raise Unreadable(f"row {number}: its day, its cost or a number of tokens in it cannot be read") from None


def _usage(row: Mapping[str, Any]) -> Usage | None:
    told = {kind: found for kind, names in TOKENS.items() if (found := _found(row, names)) is not None}
    return Usage(**{kind: _count(value) for kind, value in told.items()}) if told else None


def _cost(row: Mapping[str, Any]) -> tuple[int | None, int]:
    """Nano-dollars, and what they may be off by rounding."""
    exact = _found(row, NANOUSD)
    if exact is not None:
        return int(_number(exact)), 0
    usd, cents = _found(row, COST), _found(row, CENTS)
    if usd is None and cents is None:
        return None, 0
    amount = _number(str(cents if usd is None else usd).replace("$", "", 1))  # a credit is -$0.50
    unit = NANO if usd is not None else NANO // CENTS_PER_DOLLAR
    exponent = amount.as_tuple().exponent
    assert isinstance(exponent, int)  # noqa: S101 - `_number` lets no infinity through
    last_digit = Decimal(1).scaleb(min(exponent, 0))  # 1e3 is a way to write 1000, not to round it
    return int((amount * unit).to_integral_value()), int(unit * last_digit / 2)


def _found(row: Mapping[str, Any], names: Iterable[str]) -> Any:  # noqa: ANN401 - whatever the export has there
    return next((row[name] for name in names if row.get(name) not in {None, ""}), None)


def _number(value: object) -> Decimal:
    """Raises `InvalidOperation` for what is no number, `ValueError` for one that no bill has."""
    number = Decimal(str(value).replace(",", "").strip())
    if not -BEYOND_ANY_BILL < number < BEYOND_ANY_BILL:
        raise ValueError(value)
    return number


def _count(value: object) -> int:
    count = _number(value)
    if count < 0 or count != count.to_integral_value():
        raise ValueError(value)
    return int(count)


def _day(value: object) -> str:
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC).date().isoformat()
    said = str(value).strip().replace("/", "-")
    if len(said) > len("2026-11-22"):
        moment = datetime.fromisoformat(said)
        return (moment if moment.tzinfo is None else moment.astimezone(UTC)).date().isoformat()
    year, month, day = said.split("-")
    return date(int(year), int(month), int(day)).isoformat()


def _name(column: str) -> str:
    """A column's name in one spelling: `Usage Date (UTC)` is `usage_date_utc`."""
    return re.sub(r"[^a-z0-9.]+", "_", column.strip().lower()).strip("_")


def same_model(said: str) -> str:
    """One spelling for a model: `Claude Haiku 4.5`, `claude-haiku-4-5` and `claude-haiku-4-5-20251001` are one."""
    spelled = re.sub(r"[^a-z0-9]+", "-", said.strip().lower()).strip("-")
    return re.sub(r"-20\d{6}$", "", spelled)
