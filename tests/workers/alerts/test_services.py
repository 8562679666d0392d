"""E-mail and JSON through apprise, against real servers; addresses stay out of errors and logs."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from email import message_from_string, policy
from io import StringIO

import pytest

from scripts.stack.valkey import free_port
from tasks.model.alert import Undelivered
from tests.workers.alerts.conftest import a_delivery, until
from tests.workers.alerts.far_side import Endpoint, MailServer
from workers.alerts import AppriseChannel, Channels


@pytest.fixture
def logged() -> Iterator[StringIO]:
    """What a worker that logs at DEBUG would write. (pytest's own capture listens to each logger by itself.)"""
    written = StringIO()
    handler, root = logging.StreamHandler(written), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield written
    root.setLevel(before)
    root.removeHandler(handler)


def mailto(port: int) -> AppriseChannel:
    return AppriseChannel(
        "ops", f"mailto://127.0.0.1:{port}?smtp=127.0.0.1&mode=insecure&from=docmill@example.org&to=ops@example.org"
    )


def test_a_mail_says_the_number_the_limit_and_the_next_command(mail: MailServer) -> None:
    mailto(mail.port).send(a_delivery())
    assert mail.recipients == ["ops@example.org"]
    message = message_from_string(mail.messages[0], policy=policy.default)
    assert message["Subject"] == "docmill: budget of the day: $8.30 spent, 83 % of the soft limit of $10"
    body = message.get_body(("plain", "html"))
    assert body is not None
    text = body.get_content()
    assert "The threshold is 80 %." in text
    assert "docmill costs --by model" in text
    assert "alert-1" in text


def test_a_mail_that_is_refused_is_not_delivered(mail: MailServer, logged: StringIO) -> None:
    mail.refuses = True
    with pytest.raises(Undelivered) as caught:
        mailto(mail.port).send(a_delivery())
    assert "example.org" not in str(caught.value) + logged.getvalue()


def test_nobody_listening_is_told_without_the_address(logged: StringIO) -> None:
    port = free_port()
    for channel in (mailto(port), AppriseChannel("hook", f"json://127.0.0.1:{port}/hunter2")):
        with pytest.raises(Undelivered, match=r"^no connection to the service$"):
            channel.send(a_delivery())
    assert "127.0.0.1" not in logged.getvalue()


def test_a_service_s_status_is_told(endpoint: Endpoint) -> None:
    address = endpoint.url.replace("http://", "json://")
    endpoint.statuses = [500]
    with pytest.raises(Undelivered, match=r"^HTTP 500$"):
        AppriseChannel("hook", address).send(a_delivery())
    AppriseChannel("hook", address).send(a_delivery())
    assert json.loads(endpoint.requests[1][1])["title"].startswith("docmill: budget of the day")


def test_an_address_that_apprise_does_not_know_is_not_quoted() -> None:
    with pytest.raises(Undelivered, match="DOCMILL_ALERT_URLS") as caught:
        AppriseChannel("ops", "nonsense://hunter2").send(a_delivery())
    assert "hunter2" not in str(caught.value)


async def test_one_that_hangs_does_not_hold_up_the_end_of_the_process(endpoint: Endpoint) -> None:
    endpoint.statuses = [200, None]
    channel = AppriseChannel("hook", endpoint.url.replace("http://", "json://"))
    channel.send(a_delivery("hook"))  # with which apprise is loaded
    with pytest.raises(Undelivered, match="no answer within 1 s"):
        await Channels([channel], timeout_s=1).send(a_delivery("hook"))
    await until(lambda: len(endpoint.requests) >= 2)
    assert len(endpoint.requests) == 2
    # Python waits for an executor's threads when it ends; apprise would have one.
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]
