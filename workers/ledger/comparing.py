"""The tokens of answered calls by price: what `tasks.rules.comparing` reckons with."""

from __future__ import annotations

import json

from sqlalchemy import Connection, Text, case, cast, func, select

from tasks.model.call import CallState, Usage
from tasks.rules.comparing import Bought
from workers.ledger.database import Database
from workers.ledger.prices import read_prices
from workers.ledger.spending import within
from workers.ledger.steps import USAGE
from workers.ledger.tables import calls


def bought(
    database: Database, *, long_over: int | None, since: str | None = None, until: str | None = None
) -> list[Bought]:
    """Tokens by day, price and multipliers, of the days from `since` to `until`.

    `long_over`: prompt tokens above which another model's prompts are long; None where it knows no such thing.
    Calls whose price was not kept are left out.
    """
    prompt = sum(
        (calls.c[f"{kind}_tokens"] for kind in ("cache_write_5m", "cache_write_1h", "cache_read")), calls.c.input_tokens
    )
    # Calls that used the cache stand apart from those of the same price that did not.
    is_cached = case((prompt > calls.c.input_tokens, 1), else_=0).label("is_cached")
    is_long = case((prompt > (long_over if long_over is not None else _NEVER), 1), else_=0).label("is_long")
    factors = cast(calls.c.multipliers, Text).label("factors")
    groups = (calls.c.day, calls.c.price_hash, factors, is_long, is_cached)
    sums = [func.sum(calls.c[f"{kind}_tokens"]).label(kind) for kind in USAGE]
    wanted = within(
        select(*groups, func.count().label("calls"), func.sum(calls.c.cost_nanousd).label("cost_nanousd"), *sums),
        since,
        until,
    )
    wanted = wanted.where(calls.c.state == CallState.ANSWERED.value, calls.c.cost_nanousd.is_not(None))
    wanted = wanted.group_by(*(group.name for group in groups)).order_by(calls.c.day)

    def read(connection: Connection) -> list[Bought]:
        known = read_prices(connection)
        return [
            Bought(
                day=row["day"],
                price=known[row["price_hash"]],
                multipliers=json.loads(row["factors"] or "null") or {},
                is_long=bool(row["is_long"]),
                calls=row["calls"],
                cost_nanousd=int(row["cost_nanousd"]),
                usage=Usage(**{kind: int(row[kind]) for kind in USAGE}),
            )
            for row in connection.execute(wanted).mappings()
            if row["price_hash"] in known
        ]

    return database.read(read)


_NEVER = 2**62
