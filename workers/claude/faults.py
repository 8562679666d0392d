"""What the SDK, its transport or the wire raised, as one of our faults.

Sorted by status, then `error.type`, then `error_code`; by the wording of a message only where the API documents no
other sign. Nothing of the original is kept but numbers and names: SDK exceptions hold the key and the prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from time import time

import aiohttp
import anthropic
import httpx2

from tasks.model.fault import (
    BillingStopped,
    Fault,
    Interrupted,
    Overloaded,
    RateLimited,
    Rejected,
    ServerFailed,
    SpendCap,
    TimedOut,
    TooLong,
    Unauthorized,
    UnknownModel,
    Unreachable,
)

WIRE_ERRORS = (anthropic.AnthropicError, httpx2.HTTPError, aiohttp.ClientError, OSError, ValueError)
"""Everything that a request, or reading its answer, was seen to raise."""

SPEND_CAP_CODES = frozenset({"enforced_spend_limit_reached", "contract_spend_limit_reached"})
USAGE_LIMIT_PREFIXES = (
    "You have reached your specified API usage limits",
    "You have reached your specified workspace API usage limits",
)
"""A limit the customer set is told by the message alone."""

_BY_STATUS: Mapping[int, type[Fault]] = {
    401: Unauthorized,
    402: BillingStopped,
    403: Unauthorized,
    404: UnknownModel,
    408: ServerFailed,
    409: ServerFailed,
    413: TooLong,
    429: RateLimited,
    503: Overloaded,
    529: Overloaded,
}

_BY_TYPE: Mapping[str, type[Fault]] = {
    "authentication_error": Unauthorized,
    "billing_error": BillingStopped,
    "permission_error": Unauthorized,
    "not_found_error": UnknownModel,
    "request_too_large": TooLong,
    "rate_limit_error": RateLimited,
    "timeout_error": ServerFailed,
    "api_error": ServerFailed,
    "overloaded_error": Overloaded,
    "invalid_request_error": Rejected,
}
"""For an error told inside a stream, where the status is 200."""


def fault_of(error: Exception) -> Fault:
    """Our fault for one of `WIRE_ERRORS`. Raise it outside the `except` block: a context would keep the original."""
    match error:
        case anthropic.APITimeoutError() | anthropic.APIConnectionError() if never_sent(error):
            return Unreachable("no connection to Claude: nothing was sent")
        case anthropic.APITimeoutError() | httpx2.TimeoutException():
            return TimedOut("no byte from Claude for too long, after the request had gone out")
        case anthropic.APIStatusError():
            return _of_status(error)
        case _:
            return Interrupted(f"the answer was cut off or unreadable ({type(error).__name__})")


def never_sent(error: Exception) -> bool:
    """Whether the connection failed before anything went out; read from the chain of causes.

    aiohttp's transport maps a lost connection to ConnectError too, so its own exception below decides.
    """
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__
    return any(
        isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | httpx2.PoolTimeout)
        for cause in causes
    )


def _of_status(error: anthropic.APIStatusError) -> Fault:
    code = error.error_code or error.type
    kind = _kind(error)
    return kind(
        f"Claude answered {error.status_code}" + (f" {code}" if code else ""),
        status=error.status_code,
        code=code,
        request_id=error.request_id,
        retry_after_s=retry_after_s(error.response.headers, time),
    )


def _kind(error: anthropic.APIStatusError) -> type[Fault]:
    said = error.api_message or ""
    if error.error_code in SPEND_CAP_CODES or said.startswith(USAGE_LIMIT_PREFIXES):
        return SpendCap
    if error.error_code == "organization_on_hold":
        return Unauthorized
    if "credit balance is too low" in said:
        return BillingStopped
    if said.startswith("prompt is too long"):
        return TooLong
    if said.startswith("Could not process PDF"):
        return ServerFailed  # often works the second time
    if error.status_code == httpx2.codes.OK:
        return _BY_TYPE.get(error.type or "", ServerFailed)
    by_status = _BY_STATUS.get(error.status_code)
    if by_status is not None:
        return by_status
    return ServerFailed if error.status_code >= httpx2.codes.INTERNAL_SERVER_ERROR else Rejected


def retry_after_s(headers: Mapping[str, str], clock: Callable[[], float]) -> float | None:
    """Seconds the server asks us to wait; None when it does not say, or says nothing readable.

    `clock` gives the Unix time, for the header's other form, an HTTP date.
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            return max(0.0, float(value) / unit)
        except ValueError:
            pass
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - clock())
        except ValueError:
            continue
    return None
