"""What goes wrong, and for which request: by a marker in the document, or at a rate.

Says only which fault a request meets. `errors` words the error, `messages` spoils an answer, `wire` a delivery.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from scripts.simulator.draws import draw
from scripts.simulator.errors import ApiError

DEFAULT_RETRY_AFTER_S = 1.0


class Fault(NamedTuple):
    """A kind and its argument (for a 429 the seconds of its retry-after), None where the document gave none."""

    kind: str
    argument: float | None = None


def _429(message: str, code: str | None = None, *, retry_after: bool) -> Callable[[float | None], ApiError]:
    def error(argument: float | None) -> ApiError:
        after_s = (DEFAULT_RETRY_AFTER_S if argument is None else argument) if retry_after else None
        return ApiError(429, message, code=code, retry_after_s=after_s)

    return error


def _error(
    status: int, message: str, code: str | None = None, *, html: bool = False
) -> Callable[[float | None], ApiError]:
    return lambda _argument: ApiError(status, message, code=code, html=html)


# Faults that are an error status: never charged.
ERRORS: dict[str, Callable[[float | None], ApiError]] = {
    "429": _429("This request would exceed your organization's rate limit.", retry_after=True),
    "429_bare": _429("This request would exceed your organization's rate limit.", retry_after=False),
    "ramp": _429("Your usage is growing too fast.", "ramp_limit_exceeded", retry_after=True),
    "spend_cap": _429(
        "Your organization has reached its monthly spend limit.", "enforced_spend_limit_reached", retry_after=False
    ),
    "contract_cap": _429(
        "Your organization has reached its contract's spend limit.", "contract_spend_limit_reached", retry_after=False
    ),
    "usage_limit": _error(
        400, "You have reached your specified API usage limits. You will regain access on 2099-01-01 at 00:00 UTC."
    ),
    "credit": _error(400, "Your credit balance is too low to access the Anthropic API."),
    "on_hold": _error(400, "This organization is on hold.", "organization_on_hold"),
    "400": _error(400, "messages: synthetic invalid request"),
    "401": _error(401, "invalid x-api-key"),
    "402": _error(402, "Your organization has too little prepaid credit."),
    "403": _error(403, "Your API key does not have permission to use the specified resource."),
    "404": _error(404, "model: synthetic model not found"),
    "413": _error(413, "Request exceeds the maximum size"),
    "too_long": _error(400, "prompt is too long: 1234567 tokens > 200000 maximum"),
    "bad_pdf": _error(400, "Could not process PDF"),
    "500": _error(500, "Internal server error"),
    "502": _error(502, "Bad gateway", html=True),
    "503": _error(503, "Service unavailable"),
    "504": _error(504, "The request timed out"),
    "529": _error(529, "Overloaded"),
}
# Faults of a request that is answered: all charged, but for `error_event`.
ANSWERS = frozenset({"refusal", "truncated", "bad_output"})
DELIVERIES = frozenset({"hang", "trickle", "cut", "silent_end", "error_event", "html200", "badjson"})
KINDS = frozenset(ERRORS) | ANSWERS | DELIVERIES

# A bare rate is spread over what is retried and never charged.
DEFAULT_MIX = ("429", "429_bare", "ramp", "529", "500", "503", "504")


def read_rates(spec: float | Mapping[str, float]) -> dict[str, float]:
    """Rate by kind; a bare number is spread over the default mix.

    Raises `ValueError` for an unknown kind, or rates that are no probabilities together.
    """
    if isinstance(spec, Mapping):
        rates = {kind: float(rate) for kind, rate in spec.items()}
    else:
        rates = dict.fromkeys(DEFAULT_MIX, float(spec) / len(DEFAULT_MIX))
    if unknown := set(rates) - KINDS:
        raise ValueError(f"unknown fault {sorted(unknown)}: known are {sorted(KINDS)}")
    if not all(rate >= 0 for rate in rates.values()) or not sum(rates.values()) <= 1 + 1e-9:
        raise ValueError(f"fault rates {rates}: each at least 0, together at most 1")
    return rates


# A document's name may end like a count: `doc:box12`.
_MARKER = re.compile(r"\{\{sim:(doc(?=:)|[a-z0-9_]+?)(?::((?<=doc:)[\w.-]+|[\w.-]+?))?(?:x(\d+))?\}\}")


@dataclass(frozen=True, slots=True)
class Markers:
    """What a document's own text asks for. `faults` are used up in order; a count of None never is."""

    document: str = ""
    latency_s: float | None = None
    tokens: int | None = None
    faults: tuple[tuple[Fault, int | None], ...] = ()

    def fault(self, earlier: int) -> Fault | None:
        """The fault of the request before which `earlier` others carried this document."""
        for fault, count in self.faults:
            if count is None or earlier < count:
                return fault
            earlier -= count
        return None


NO_MARKERS = Markers()


def read_markers(text: str) -> Markers:
    """The markers in `text`. One that says nothing known is an `ApiError` 400, so that a typo is seen."""
    markers = NO_MARKERS
    if "{{sim:" not in text:
        return markers
    found = list(_MARKER.finditer(text))
    if len(found) < text.count("{{sim:"):
        raise ApiError(400, "simulator: a marker is not of the form {{sim:KIND}}, {{sim:KIND:ARG}} or {{sim:KINDx2}}")
    for match in found:
        try:
            markers = _with_marker(markers, *match.groups())
        except (TypeError, ValueError):
            raise ApiError(400, f"simulator: marker {match[0]} is unknown; kinds: {sorted(KINDS)}") from None
    return markers


def _with_marker(markers: Markers, kind: str, argument: str | None, count: str | None) -> Markers:
    match kind:
        case "doc":
            return replace(markers, document=argument or "")
        case "latency":
            return replace(markers, latency_s=float(argument or ""))
        case "tokens":
            return replace(markers, tokens=int(argument or ""))
        case _ if kind in KINDS:
            fault = Fault(kind, float(argument) if argument else None)
            return replace(markers, faults=(*markers.faults, (fault, int(count) if count else None)))
        case _:
            raise ValueError(kind)


def without_markers(text: str) -> str:
    """The text without its markers."""
    return _MARKER.sub("", text) if "{{sim:" in text else text


class FaultPlan:
    """Decides the fault of each request. Counts requests per document only where something depends on the count."""

    def __init__(self, seed: int) -> None:
        self.rates: Mapping[str, float] = {}
        self._seed = seed
        self._seen: dict[int, int] = {}

    def next(self, document: str, markers: Markers) -> Fault | None:
        """The fault this request meets. `document`: what tells one document from another."""
        if not self.rates and not markers.faults:
            return None
        earlier = self._count(document)
        return markers.fault(earlier) or self._at_a_rate(document, earlier)

    def reset(self) -> None:
        """Every document is new again."""
        self._seen.clear()

    def _count(self, document: str) -> int:
        key = hash(document)
        earlier = self._seen.get(key, 0)
        self._seen[key] = earlier + 1
        return earlier

    def _at_a_rate(self, document: str, earlier: int) -> Fault | None:
        left = draw(self._seed, "fault", document, earlier)
        for kind, rate in self.rates.items():
            left -= rate
            if left < 0:
                return Fault(kind)
        return None
