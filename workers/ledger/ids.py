"""Ids that sort by the time they were made, which keeps indexes compact and lists in order; and finding them again."""

from __future__ import annotations

import random
import time

from sqlalchemy import Column, select

from workers.ledger.database import Database


def new_id(prefix: str) -> str:
    """A fresh id such as `job-019aacf3b1e27d04c5a9f1`: 48 bits of milliseconds, then 40 of chance, in hex."""
    return f"{prefix}-{time.time_ns() // 1_000_000:012x}{chance(40)}"


def chance(bits: int) -> str:
    """So many random bits, a multiple of 4, in hex: to be unique, not to be a secret, and so without a system call."""
    return f"{random.getrandbits(bits):0{bits // 4}x}"


def beginning(database: Database, column: Column[str], prefix: str, said: str, limit: int) -> list[str]:
    """Ids in a column that begin with what a person said, in order; the prefix may be left out."""
    wanted = prefix + said.removeprefix(prefix)
    # A range and not LIKE, which would read the whole table. No hexadecimal digit sorts after z.
    query = select(column).where(column >= wanted, column < wanted + "z").order_by(column).limit(limit)
    return list(database.read(lambda connection: connection.execute(query).scalars().all()))
