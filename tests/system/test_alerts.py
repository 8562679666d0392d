"""The day's total and its alerts, by real workers and beats: once, to whoever is to be told."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr

from tasks.model.budget import Scope
from tests.system.mill import Mill
from tests.workers.alerts.far_side import http_endpoint
from workers.ledger import read_alerts, read_days
from workers.ledger.budgets import set_budget
from workers.transport import Pauses

SECRET = "s3cret"


def leave_the_day_a_minute() -> None:
    """What is told is told of a day: wait for the next where this one is as good as over."""
    left_s = 86_400 - time.time() % 86_400
    if left_s < 60:
        time.sleep(left_s)


@pytest.mark.timeout(180)
def test_a_threshold_and_a_stopped_lane_are_told_of_once_though_two_beats_run(tmp_path: Path) -> None:
    leave_the_day_a_minute()
    with http_endpoint() as endpoint:
        chosen = {
            "total_every_s": 1,
            "alert_soft_percent": "50,80",
            "alert_webhook_url": SecretStr(endpoint.url),
            "alert_webhook_secret": SecretStr(SECRET),
        }
        with Mill(tmp_path, settings=chosen) as mill:
            database = mill.producer.database
            today = f"{datetime.now(UTC):%Y-%m-%d}"
            set_budget(database, Scope.DAY, "", hard_nanousd=None, soft_nanousd=1_000, day=today, set_by="a test")
            mill.start_worker()
            mill.finish(mill.submit([f"Letter {number}" for number in range(5)]))
            charged = sum(row["nanousd"] for row in mill.bill())
            with redis.Redis.from_url(mill.valkey.url) as client:
                Pauses(client).pause(["docmill.high"], "over the limit", by="worker", seconds=3_600, fault="SpendCap")
            for name in ("beat-1", "beat-2"):
                mill.start_beat(name)

            def sent() -> list[str]:
                ways = [way for alert in read_alerts(database, 10) for way in alert.deliveries]
                return sorted(way.channel for way in ways if way.sent_at and way.tries == 1)

            mill.until(lambda: len(endpoint.requests) >= 2, "the alerts came")
            mill.until(lambda: len(sent()) >= 4, "all are known to have come")
            mill.until(lambda: mill.log(1).read_text().count("event=alert ") >= 2, "they are in the log")
            turn = read_days(database)[0].counted_at
            mill.until(lambda: read_days(database)[0].counted_at > turn, "the day was counted again")

            assert len(endpoint.requests) == 2
            told_of = {json.loads(body)["kind"]: (headers, body) for headers, body in endpoint.requests}
            assert json.loads(told_of["lane.parked"][1])["detail"]["lanes"] == ["docmill.high"]
            headers, body = told_of["budget.soft"]
            detail = json.loads(body)["detail"]
            assert (detail["threshold_percent"], detail["spent_nanousd"]) == (80, charged)
            signed = hmac.new(SECRET.encode(), headers["Docmill-Timestamp"].encode() + b"." + body, hashlib.sha256)
            assert headers["Docmill-Signature"] == f"v1={signed.hexdigest()}"

            (day,) = read_days(database)
            assert (day.total.calls, day.total.cost_nanousd, day.closed_at) == (5, charged, None)
            assert sent() == ["log"] * 2 + ["webhook"] * 2
            written = mill.log(1).read_text()
            assert written.count("event=alert ") == 2
            assert "hunter2" not in written
            assert SECRET not in written
