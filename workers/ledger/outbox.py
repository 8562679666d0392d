"""Alerts on their way: told once by their key, tried on each channel until it took them or they are given up.

Holds names of channels and never an address. When to try again is decided in `tasks.rules.delivering`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, update
from sqlalchemy.engine import Row

from tasks.model.alert import Alert, Delivery
from workers.ledger.database import Database
from workers.ledger.ids import new_id
from workers.ledger.inserting import insert_into
from workers.ledger.tables import alerts, deliveries, storable


@dataclass(frozen=True, slots=True)
class DeliveryLine:
    """How an alert fares on one channel."""

    channel: str
    tries: int
    next_at: datetime | None
    """None: sent, or given up."""
    sent_at: datetime | None
    error: str | None
    """Why the last try failed."""


@dataclass(frozen=True, slots=True)
class AlertLine:
    """An alert and its deliveries, by channel."""

    id: str
    kind: str
    subject: str
    body: str
    detail: Mapping[str, Any]
    created_at: datetime
    deliveries: tuple[DeliveryLine, ...]


def read_alerts(database: Database, limit: int) -> list[AlertLine]:
    """The last alerts, the newest first."""
    newest = select(alerts).order_by(alerts.c.created_at.desc(), alerts.c.id.desc()).limit(limit)

    def read(connection: Connection) -> list[AlertLine]:
        return [_line(row, _deliveries(connection, row.id)) for row in connection.execute(newest).all()]

    return database.read(read)


def tell(
    connection: Connection, told: Sequence[Alert], channels: Sequence[str], at: datetime, *, due_at: datetime | None
) -> list[str]:
    """Keep those alerts whose keys are new, for each channel, due at `due_at`; their ids.

    None leaves the deliveries to the caller, who tries each once.
    """
    ids: list[str] = []
    for alert in told:
        alert_id = new_id("alert")
        row = {
            "id": alert_id,
            "key": storable(alert.key),
            "kind": alert.kind,
            "subject": storable(alert.subject),
            "body": storable(alert.body),
            "detail": dict(alert.detail),
            "created_at": at,
        }
        kept = insert_into(connection, alerts).values(row).on_conflict_do_nothing().returning(alerts.c.id)
        if connection.execute(kept).first() is None:
            continue
        ids.append(alert_id)
        way = {"alert_id": alert_id, "tries": 0 if due_at else 1, "next_at": due_at}
        connection.execute(insert_into(connection, deliveries), [{**way, "channel": channel} for channel in channels])
    return ids


def unknown_keys(connection: Connection, told: Sequence[Alert]) -> list[Alert]:
    """Those that were not told yet."""
    keys = {storable(alert.key): alert for alert in told}
    known = set(connection.execute(select(alerts.c.key).where(alerts.c.key.in_(keys))).scalars())
    return [alert for key, alert in keys.items() if key not in known]


def due(connection: Connection, limit: int, at: datetime) -> list[Delivery]:
    """Deliveries whose time has come, the oldest first, so many of each channel at most."""
    place = func.row_number().over(partition_by=deliveries.c.channel, order_by=deliveries.c.next_at)
    first = select(deliveries, place.label("place")).where(deliveries.c.next_at <= at).subquery()
    wanted = (
        select(first.c.alert_id, first.c.channel, first.c.tries, alerts)
        .join(alerts, alerts.c.id == first.c.alert_id)
        .where(first.c.place <= limit)
        .order_by(first.c.next_at)
    )
    return [_delivery(row) for row in connection.execute(wanted)]


def take(connection: Connection, delivery: Delivery, until: datetime) -> bool:
    """Whether nobody else tried it since it was found due. It is due again at `until`, unless its end is told first."""
    taken = _of(delivery).where(deliveries.c.tries == delivery.tries, deliveries.c.next_at.is_not(None))
    return connection.execute(taken.values(tries=delivery.tries + 1, next_at=until)).rowcount == 1


def sent(connection: Connection, delivery: Delivery, at: datetime) -> None:
    """It was delivered."""
    connection.execute(_of(delivery).values(sent_at=at, next_at=None, error=None))


def failed(connection: Connection, delivery: Delivery, error: str, next_at: datetime | None) -> None:
    """It was not: due again at `next_at`, or given up."""
    is_ours = deliveries.c.sent_at.is_(None)
    connection.execute(_of(delivery).where(is_ours).values(next_at=next_at, error=storable(error)))


def _of(delivery: Delivery) -> Any:  # noqa: ANN401 - SQLAlchemy's Update, which the callers complete
    return update(deliveries).where(
        deliveries.c.alert_id == delivery.alert_id, deliveries.c.channel == delivery.channel
    )


def _deliveries(connection: Connection, alert_id: str) -> tuple[DeliveryLine, ...]:
    wanted = select(deliveries).where(deliveries.c.alert_id == alert_id).order_by(deliveries.c.channel)
    return tuple(
        DeliveryLine(row.channel, row.tries, row.next_at, row.sent_at, row.error) for row in connection.execute(wanted)
    )


def _line(row: Row[Any], ways: tuple[DeliveryLine, ...]) -> AlertLine:
    return AlertLine(row.id, row.kind, row.subject, row.body, row.detail or {}, row.created_at, ways)


def _delivery(row: Row[Any]) -> Delivery:
    alert = Alert(row.key, row.kind, row.subject, row.body, row.detail or {})
    return Delivery(row.alert_id, row.channel, row.tries, row.created_at, alert)
