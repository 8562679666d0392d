"""`docmill alerts`: what was told and how it fared, and a test of every channel."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from scripts.stack.valkey import free_port
from tests.scripts.commands.conftest import Docmill
from tests.workers.alerts.far_side import Endpoint, http_endpoint


@pytest.fixture(autouse=True)
def logging_of_one_command() -> Iterator[None]:
    """The command sets up logging for its process, which here is that of the other tests too."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    with http_endpoint() as opened:
        monkeypatch.setenv("DOCMILL_ALERT_WEBHOOK_URL", opened.url)
        monkeypatch.setenv("DOCMILL_ALERT_WEBHOOK_SECRET", "s3cret")
        yield opened


def test_none_yet(docmill: Docmill) -> None:
    said = docmill("alerts")
    assert (said.code, said.out) == (0, "no alerts yet\n")
    assert docmill("alerts", "--json").json == []


def test_a_test_goes_through_every_channel_and_is_listed(docmill: Docmill, endpoint: Endpoint) -> None:
    said = docmill("alerts", "test")
    assert (said.code, said.out.split()) == (0, ["channel", "result", "log", "sent", "webhook", "sent"])
    assert len(endpoint.requests) == 1
    (line,) = docmill("alerts", "--json").json
    assert (line["kind"], [way["channel"] for way in line["deliveries"]]) == ("test", ["log", "webhook"])
    assert all(way["sent_at"] and way["tries"] == 1 for way in line["deliveries"])
    assert len(re.findall(r"sent \d+ s ago", docmill("alerts").out)) == 2


def test_a_channel_that_fails_is_named_and_no_secret_is(
    docmill: Docmill, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint.statuses = [403]
    monkeypatch.setenv("DOCMILL_ALERT_URLS", f"ops=json://user:hunter2@127.0.0.1:{free_port()}/x")
    said = docmill("alerts", "test", "--json")
    assert said.code == 1
    assert {one["channel"]: one["error"] for one in said.json} == {
        "log": None,
        "webhook": "HTTP 403",
        "ops": "no connection to the service",
    }
    listed = docmill("alerts")
    assert "given up after 1 try: HTTP 403" in listed.out
    assert "hunter2" not in said.out + said.err + listed.out + docmill("doctor").out


def test_a_wrong_setting_is_one_line(docmill: Docmill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCMILL_ALERT_URLS", "mailto://user:hunter2@example.org")
    said = docmill("alerts", "test")
    assert said.code == 2
    assert said.err.startswith("docmill: DOCMILL_ALERT_URLS: address 1 has no name or is none")
    assert len(said.err.splitlines()) == 1
    assert "hunter2" not in said.err
    found = {one["about"]: one for one in docmill("doctor", "--json").json["findings"]}
    assert found["alerts"]["grade"] == "missing"


def test_the_doctor_names_the_channels(docmill: Docmill, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCMILL_ALERT_URLS", "ops=mailto://user:hunter2@example.org")
    found = {one["about"]: one for one in docmill("doctor", "--json").json["findings"]}
    assert found["alerts"]["grade"] == "ok"
    assert found["alerts"]["said"].startswith("go to log, webhook, ops;")


def test_the_doctor_says_which_routed_model_retires(docmill: Docmill, home: Path) -> None:
    home.mkdir()
    (home / "catalogue.toml").write_text('[routes]\nlow = "claude-sonnet-4-5-20250929"\n')
    said = [one["said"] for one in docmill("doctor", "--json").json["findings"]]
    assert "claude-sonnet-4-5-20250929 retires on 2026-11-30" in said


@pytest.mark.parametrize(
    ("value", "said"), [("50;80", "percentages"), ("-5", "percentages"), ("half", "percentages"), ("", "percentages")]
)
def test_wrong_thresholds_are_told(docmill: Docmill, monkeypatch: pytest.MonkeyPatch, value: str, said: str) -> None:
    monkeypatch.setenv("DOCMILL_ALERT_SOFT_PERCENT", value)
    told = docmill("alerts")
    assert told.code == 2
    assert "DOCMILL_ALERT_SOFT_PERCENT" in told.err
    assert said in told.err
