"""The signed webhook against a real endpoint: who wrote to it can be verified, and no secret is told."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from urllib.parse import urlsplit

import pytest

from config.files import BadConfig
from scripts.stack.valkey import free_port
from tasks.model.alert import Undelivered
from tests.workers.alerts.conftest import a_delivery
from tests.workers.alerts.far_side import Endpoint
from workers.alerts import Webhook

SECRET = "s3cret"


def test_the_receiver_can_verify_who_wrote_it_and_when(endpoint: Endpoint) -> None:
    Webhook(endpoint.url, SECRET).send(a_delivery())
    ((headers, body),) = endpoint.requests
    timestamp = headers["Docmill-Timestamp"]
    expected = hmac.new(SECRET.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(headers["Docmill-Signature"], f"v1={expected}")
    assert abs(time.time() - int(timestamp)) < 60
    assert headers["Docmill-Alert"] == "alert-1"
    said = json.loads(body)
    assert (said["id"], said["kind"], said["detail"]) == ("alert-1", "budget.soft", {"percent": 83})
    assert "Next: docmill costs" in said["body"]
    assert SECRET not in str(headers) + body.decode()


def test_a_user_in_the_address_is_told_to_the_receiver_and_not_to_the_resolver(endpoint: Endpoint) -> None:
    Webhook(endpoint.url.replace("http://", "http://anna:p%40ss:w%C3%B6rd@"), SECRET).send(a_delivery())
    Webhook(endpoint.url.replace("http://", "http://anna@"), SECRET).send(a_delivery())
    Webhook(endpoint.url, SECRET).send(a_delivery())
    said = [headers.get("Authorization", "") for headers, _ in endpoint.requests]
    assert [base64.b64decode(each.removeprefix("Basic ")).decode() for each in said] == ["anna:p@ss:wörd", "anna:", ""]
    assert {headers["Host"] for headers, _ in endpoint.requests} == {urlsplit(endpoint.url).netloc}


def test_a_host_that_is_not_found_is_told_in_words() -> None:
    nowhere = "[fe80::1%25nowhere]"  # on an interface that is not there: no resolver has to be asked
    with pytest.raises(Undelivered, match=r"^host not found$"):
        Webhook(f"http://user:hunter2@{nowhere}/hunter2", SECRET).send(a_delivery())


@pytest.mark.parametrize("status", [301, 302, 400, 401, 404, 500, 503])
def test_any_other_answer_is_told_by_its_status(endpoint: Endpoint, status: int) -> None:
    endpoint.statuses = [status]
    with pytest.raises(Undelivered, match=rf"^HTTP {status}$"):
        Webhook(endpoint.url, SECRET).send(a_delivery())


def test_a_redirect_is_not_followed(endpoint: Endpoint) -> None:
    endpoint.statuses, endpoint.location = [307], endpoint.url
    with pytest.raises(Undelivered, match="HTTP 307"):
        Webhook(endpoint.url, SECRET).send(a_delivery())
    assert len(endpoint.requests) == 1


def test_silence_and_a_closed_door_are_told_without_the_address(endpoint: Endpoint) -> None:
    endpoint.statuses = [None]
    with pytest.raises(Undelivered, match=r"^no answer in time$"):
        Webhook(endpoint.url, SECRET, timeout_s=0.2).send(a_delivery())
    with pytest.raises(Undelivered, match=r"^ConnectionRefusedError$"):
        Webhook(f"http://127.0.0.1:{free_port()}/hunter2", SECRET).send(a_delivery())


@pytest.mark.parametrize(
    ("url", "secret", "said"),
    [
        ("https://user:hunter2@example.org/x", "", "DOCMILL_ALERT_WEBHOOK_SECRET"),
        ("file:///etc/hunter2", "s", "DOCMILL_ALERT_WEBHOOK_URL"),
        ("hunter2", "s", "DOCMILL_ALERT_WEBHOOK_URL"),
        ("http://[::1", "s", "DOCMILL_ALERT_WEBHOOK_URL"),
        ("http://[hunter2]/", "s", "DOCMILL_ALERT_WEBHOOK_URL"),
        ("https://example.org:hunter2/", "s", "DOCMILL_ALERT_WEBHOOK_URL"),
        ("https://example.org:65536/", "s", "DOCMILL_ALERT_WEBHOOK_URL"),
        ("https://user:hunt/er2@example.org/", "s", "DOCMILL_ALERT_WEBHOOK_URL"),
    ],
)
def test_a_wrong_setting_is_told_by_its_name_and_never_by_its_value(url: str, secret: str, said: str) -> None:
    with pytest.raises(BadConfig, match=said) as caught:
        Webhook(url, secret)
    assert "hunter2" not in str(caught.value)
