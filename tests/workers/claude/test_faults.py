"""Reading what the API answered: every row of the retry table, and its headers."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx2
import pytest

from tasks.model import fault as faults
from tasks.model.fault import Fault
from workers.claude.faults import LONGEST_ASKED_S, fault_of, regain_s, retry_after_s


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "12"}, 12.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 60.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:10 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after-ms": "inf", "retry-after": "9"}, 9.0),
        ({"retry-after": "1e12"}, LONGEST_ASKED_S),
        ({"retry-after-ms": "1e300"}, LONGEST_ASKED_S),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, LONGEST_ASKED_S),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 +99999999999999"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, clock=lambda: 40.0) == seconds


def answered(
    status: int, kind: str = "", said: str = "", *, code: str | None = None, **headers: str
) -> anthropic.APIStatusError:
    """The SDK's exception for an answer with this status and body."""
    details = {"details": {"error_code": code}} if code else {}
    body: dict[str, Any] = {"type": "error", "error": {"type": kind, "message": said, **details}}
    request = httpx2.Request("POST", "http://127.0.0.1/v1/messages")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = httpx2.Response(status, request=request, json=body, headers=named)
    client = anthropic.AsyncAnthropic(api_key="none", base_url="http://127.0.0.1")
    return client._make_status_error_from_response(response)


@pytest.mark.parametrize(
    ("status", "kind", "said", "code", "fault"),
    [
        (429, "rate_limit_error", "", "enforced_spend_limit_reached", faults.SpendCap),
        (429, "rate_limit_error", "", "contract_spend_limit_reached", faults.SpendCap),
        (429, "rate_limit_error", "", "ramp_limit_exceeded", faults.RateLimited),
        (429, "rate_limit_error", "", "a_code_of_tomorrow", faults.RateLimited),
        (429, "rate_limit_error", "", None, faults.RateLimited),
        (400, "invalid_request_error", "You have reached your specified API usage limits.", None, faults.SpendCap),
        (
            400,
            "invalid_request_error",
            "You have reached your specified workspace API usage limits",
            None,
            faults.SpendCap,
        ),
        (400, "invalid_request_error", "Your credit balance is too low to", None, faults.BillingStopped),
        (400, "invalid_request_error", "", "organization_on_hold", faults.Unauthorized),
        (400, "invalid_request_error", "prompt is too long: 3 > 2", None, faults.TooLong),
        (400, "invalid_request_error", "Could not process PDF", None, faults.PdfFailed),
        (400, "invalid_request_error", "Schema is too complex for compilation.", None, faults.Rejected),
        (401, "authentication_error", "", None, faults.Unauthorized),
        (402, "billing_error", "", "linked_organization_spend_limit_reached", faults.BillingStopped),
        (403, "permission_error", "", None, faults.Unauthorized),
        (404, "not_found_error", "model: x", None, faults.UnknownModel),
        (408, "", "", None, faults.ServerFailed),
        (409, "conflict_error", "", None, faults.ServerFailed),
        (413, "request_too_large", "", "request_body_too_large_after_decoding", faults.TooLong),
        (418, "", "", None, faults.Rejected),
        (422, "invalid_request_error", "", None, faults.Rejected),
        (500, "api_error", "", None, faults.ServerFailed),
        (501, "", "", None, faults.ServerFailed),
        (503, "api_error", "", "cmek_key_unreachable", faults.Overloaded),
        (504, "timeout_error", "", None, faults.ServerFailed),
        (529, "overloaded_error", "", None, faults.Overloaded),
        (200, "overloaded_error", "", None, faults.Overloaded),
        (200, "rate_limit_error", "", None, faults.RateLimited),
        (200, "an_error_of_tomorrow", "", None, faults.ServerFailed),
    ],
)
def test_every_row_of_the_table(status: int, kind: str, said: str, code: str | None, fault: type[Fault]) -> None:
    assert type(fault_of(answered(status, kind, said, code=code))) is fault


@pytest.mark.parametrize(
    ("status", "code", "header", "fault"),
    [
        (500, None, "false", faults.Rejected),
        (529, None, "false", faults.Rejected),
        (400, None, "true", faults.ServerFailed),
        (400, None, "false", faults.Rejected),
        (429, None, "true", faults.RateLimited),
        (429, "enforced_spend_limit_reached", "true", faults.SpendCap),
        (429, "enforced_spend_limit_reached", "false", faults.SpendCap),
        (401, None, "true", faults.Unauthorized),
        (402, None, "false", faults.BillingStopped),
        (500, None, "perhaps", faults.ServerFailed),
    ],
)
def test_the_api_may_say_whether_to_try_again_but_not_of_keys_and_money(
    status: int, code: str | None, header: str, fault: type[Fault]
) -> None:
    assert type(fault_of(answered(status, "x", code=code, x_should_retry=header))) is fault


def test_no_free_connection_of_our_own_is_not_the_apis_failure() -> None:
    error = anthropic.APITimeoutError(httpx2.Request("POST", "http://127.0.0.1"))
    error.__cause__ = httpx2.PoolTimeout("full")
    assert type(fault_of(error)) is faults.PoolFull


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("You will regain access on 1970-01-02 at 00:00 UTC.", 86_360.0),
        ("You will regain access on 1970-01-01 at 00:01 UTC.", 20.0),
        ("You will regain access on 1970-01-02.", 86_360.0),
        ("access since 1969-12-31", 0.0),
        ("access on 1970-13-45", None),
        ("no date", None),
    ],
)
def test_when_a_spending_limit_lets_go(said: str, seconds: float | None) -> None:
    assert regain_s(said, clock=lambda: 40.0) == seconds
