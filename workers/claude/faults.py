"""What the SDK, its transport or the wire raised, as one of our faults.

Sorted by status, then `error.type`, then `error_code`; by the wording of a message only where the API documents no
other sign. Nothing of the original is kept but numbers and names: SDK exceptions hold the key and the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from time import time

import aiohttp
import anthropic
import httpx2

from tasks.model.fault import (
    BillingStopped,
    Blocked,
    Fault,
    Interrupted,
    Overloaded,
    PdfFailed,
    Permanent,
    PoolFull,
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
REGAIN = re.compile(r"(\d{4}-\d\d-\d\d)(?: at (\d\d:\d\d))?")
"""When that limit lets go again, as the message names it; in UTC."""

LONGEST_ASKED_S = 30 * 86_400.0
"""Waits the server asks for are taken to be no longer: no limit of Claude's lasts beyond a month, and what is far off
enough is a date to nobody."""

Reading = tuple[type[Fault], str]
"""A fault and what happened, in words."""

NO_CREDIT: Reading = BillingStopped, "billing has stopped: no prepaid credit"
NOT_THE_KEY: Reading = Unauthorized, "the API key is not accepted"
NOT_ALLOWED: Reading = Unauthorized, "the API key may not do this"
NO_MODEL: Reading = UnknownModel, "Claude knows no such model"
RATE: Reading = RateLimited, "over the rate limit"
OVERLOAD: Reading = Overloaded, "Claude is overloaded"
FAILED: Reading = ServerFailed, "Claude failed"
TOO_LARGE: Reading = TooLong, "the request is larger than the API takes"
REJECTED: Reading = Rejected, "Claude rejects the request"

_BY_STATUS: Mapping[int, Reading] = {
    401: NOT_THE_KEY,
    402: NO_CREDIT,
    403: NOT_ALLOWED,
    404: NO_MODEL,
    408: FAILED,
    409: FAILED,
    413: TOO_LARGE,
    429: RATE,
    503: (Overloaded, "Claude is unavailable"),
    529: OVERLOAD,
}

_BY_TYPE: Mapping[str, Reading] = {
    "authentication_error": NOT_THE_KEY,
    "billing_error": NO_CREDIT,
    "permission_error": NOT_ALLOWED,
    "not_found_error": NO_MODEL,
    "request_too_large": TOO_LARGE,
    "rate_limit_error": RATE,
    "timeout_error": FAILED,
    "api_error": FAILED,
    "overloaded_error": OVERLOAD,
    "invalid_request_error": REJECTED,
}
"""For an error told inside a stream, where the status is 200."""


def fault_of(error: Exception) -> Fault:
    """Our fault for one of `WIRE_ERRORS`. Raise it outside the `except` block: a context would keep the original."""
    match error:
        case anthropic.APIConnectionError() if isinstance(error.__cause__, httpx2.PoolTimeout):
            return PoolFull("all connections to Claude are in use: nothing was sent")
        case anthropic.APIConnectionError() if never_sent(error):
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
    return any(isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError) for cause in causes)


def _of_status(error: anthropic.APIStatusError) -> Fault:
    headers = error.response.headers
    code = error.error_code or error.type
    kind, words = _overruled(_read(error), headers.get("x-should-retry"))
    return kind(
        f"{words} ({error.status_code} {code})" if code else f"{words} ({error.status_code})",
        status=error.status_code,
        code=code,
        request_id=error.request_id,
        retry_after_s=retry_after_s(headers, time) if kind is not SpendCap else regain_s(error.api_message or "", time),
    )


def _read(error: anthropic.APIStatusError) -> Reading:
    said = error.api_message or ""
    if error.error_code in SPEND_CAP_CODES or said.startswith(USAGE_LIMIT_PREFIXES):
        until = REGAIN.search(said)
        return SpendCap, "the spending limit is reached" + (f" until {until[1]}" if until else "")
    if error.error_code == "organization_on_hold":
        return Unauthorized, "the organization is on hold"
    if error.error_code == "ramp_limit_exceeded":
        return RateLimited, "usage grows faster than Claude allows"
    if "credit balance is too low" in said:
        return NO_CREDIT
    if said.startswith("prompt is too long"):
        return TooLong, "over the model's context window"
    if said.startswith("Could not process PDF"):
        return PdfFailed, "Claude could not read the PDF"
    if error.status_code == httpx2.codes.OK:
        return _BY_TYPE.get(error.type or "", FAILED)
    by_status = _BY_STATUS.get(error.status_code)
    if by_status is not None:
        return by_status
    return FAILED if error.status_code >= httpx2.codes.INTERNAL_SERVER_ERROR else REJECTED


def _overruled(reading: Reading, should_retry: str | None) -> Reading:
    """What the API itself says of trying again decides, but not over money, keys and models: those need a person."""
    kind, words = reading
    if issubclass(kind, Blocked):
        return reading
    if should_retry == "false" and not issubclass(kind, Permanent):
        return Rejected, f"{words}, and says that trying again is no use"
    if should_retry == "true" and issubclass(kind, Permanent):
        return ServerFailed, f"{words}, and asks to be tried again"
    return reading


def regain_s(said: str, clock: Callable[[], float]) -> float | None:
    """Seconds to the moment a spending limit's message names; None when it names none."""
    found = REGAIN.search(said)
    if found is None:
        return None
    try:
        moment = datetime.fromisoformat(f"{found[1]}T{found[2] or '00:00'}+00:00")
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - clock())


def retry_after_s(headers: Mapping[str, str], clock: Callable[[], float]) -> float | None:
    """Seconds the server asks us to wait, `LONGEST_ASKED_S` at most; None when it says nothing, or nothing readable.

    `clock` gives the Unix time, for the header's other form, an HTTP date.
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        asked = _asked_s(value, unit, clock)
        if asked is not None and isfinite(asked):
            return min(max(0.0, asked), LONGEST_ASKED_S)
    return None


def _asked_s(value: str, unit: float, clock: Callable[[], float]) -> float | None:
    with suppress(ValueError):
        return float(value) / unit
    with suppress(ValueError, OverflowError):  # a time zone of a million years
        return parsedate_to_datetime(value).timestamp() - clock()
    return None
