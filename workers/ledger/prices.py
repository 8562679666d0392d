"""The prices that calls were reckoned by, each kept once under its hash, and the check that a cost follows from them.

Which price a call has is decided in `tasks.document`; the arithmetic is in `tasks.rules.pricing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

from sqlalchemy import Connection, Text, select

from config.prices import KINDS, Price, plain
from tasks.model.call import Call, CallState, Usage
from tasks.rules.pricing import priced
from workers.ledger.database import Database
from workers.ledger.many import Many
from workers.ledger.steps import USAGE
from workers.ledger.tables import BigInt, Utc, calls, prices

CHUNK = 5_000
FACTORS = ("long_prompt_factor", "batch_factor", "us_only_factor")

KEEP = Many(
    lambda given: given.insert_into(prices),
    {
        **dict.fromkeys(("hash", "model", "source", "version", *FACTORS), Text()),
        **dict.fromkeys((*(f"{kind}_nanousd_per_mtok" for kind in KINDS), "long_prompt_tokens"), BigInt),
        "created_at": Utc(),
    },
)


def keep(connection: Connection, wanted: Iterable[Price], at: datetime) -> None:
    """Store prices. One that is there already stays as it is."""
    KEEP.run(connection, [_row(price, at) for price in sorted(wanted, key=lambda price: price.hash)])


def read_prices(connection: Connection) -> dict[str, Price]:
    """All prices by hash: a handful."""
    return {row["hash"]: _price(row) for row in connection.execute(select(prices)).mappings()}


class Unkept:
    """The prices that a process has not yet stored. One it has seen committed costs a look into a dictionary."""

    def __init__(self) -> None:
        self._kept: dict[str, Price] = {}

    def of(self, ended: Iterable[Call | None]) -> dict[str, Price]:
        """Prices of these calls that are to be stored in the transaction that ends them, by hash."""
        used = {call.price.hash: call.price for call in ended if call is not None and call.price is not None}
        return {key: price for key, price in used.items() if key not in self._kept}

    def kept(self, prices_by_hash: Mapping[str, Price]) -> None:
        """These were committed."""
        self._kept |= prices_by_hash


@dataclass(frozen=True, slots=True)
class Miscounted:
    """A call whose cost does not follow from its row and its price's."""

    call_id: str
    cost_nanousd: int | None
    reckoned_nanousd: int | None
    """None where its row does not tell how: no price, or none of that hash."""
    why: str


def recompute(database: Database) -> Iterator[Miscounted]:
    """Reckon every call anew from its row and its price's; those that come to something else, or cannot be reckoned.

    Read a chunk at a time, in the order of ids. Calls that ended before prices were kept name none: they are left out.
    """
    known = database.read(read_prices)
    after = ""
    while rows := database.read(partial(_calls_after, after=after)):
        for row in rows:
            found = _miscounted(row, known)
            if found is not None:
                yield found
        after = rows[-1]["id"]


_OF_CALL = ("id", "model", "state", "cost_nanousd", "price_source", "price_hash", "multipliers")


def _calls_after(connection: Connection, after: str) -> list[Mapping[Any, Any]]:
    wanted = select(*(calls.c[name] for name in _OF_CALL), *(calls.c[f"{kind}_tokens"] for kind in USAGE))
    wanted = wanted.where(calls.c.id > after).order_by(calls.c.id).limit(CHUNK)
    return list(connection.execute(wanted).mappings())


def _miscounted(row: Mapping[Any, Any], known: Mapping[str, Price]) -> Miscounted | None:
    cost, state = row["cost_nanousd"], CallState(row["state"])
    wrong = partial(Miscounted, row["id"], cost)
    if state is not CallState.ANSWERED:
        free = 0 if state is CallState.FAILED else None
        return None if cost == free else wrong(free, f"a call that is {state} has another cost")
    if row["price_hash"] is None:
        is_old = row["price_source"] is not None
        return None if cost is None or is_old else wrong(None, "a cost without a price")
    price = known.get(row["price_hash"])
    if price is None:
        return wrong(None, "its price is not in the ledger")
    if price.hash != row["price_hash"] or price.model != row["model"]:
        return wrong(None, "its price is not what it was")
    usage = Usage(**{kind: row[f"{kind}_tokens"] for kind in USAGE})
    told = row["multipliers"] or {}
    anew = priced(usage, price, batch="batch" in told, us_only="us_only" in told)
    if (anew.multipliers or {}) != told:
        return wrong(anew.cost_nanousd, "other multipliers than its price has")
    return None if cost == anew.cost_nanousd else wrong(anew.cost_nanousd, "another sum")


def _row(price: Price, at: datetime) -> dict[str, Any]:
    return {
        **{name: getattr(price, name) for name in ("hash", "model", "source", "version", "long_prompt_tokens")},
        **{f"{kind}_nanousd_per_mtok": rate for kind, rate in price.nanousd_per_mtok.items()},
        **{name: plain(getattr(price, name)) for name in FACTORS},
        "created_at": at,
    }


def _price(row: Mapping[Any, Any]) -> Price:
    return Price(
        **{name: row[name] for name in ("model", "source", "version", "long_prompt_tokens", *FACTORS)},
        **{kind: Decimal(row[f"{kind}_nanousd_per_mtok"]).scaleb(-9) for kind in KINDS},
    )
