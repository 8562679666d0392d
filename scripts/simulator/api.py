"""What becomes of a request: everything about it is decided here, the moment it arrives; `wire` carries it out.

Takes bytes and headers, keeps the simulator's state (buckets, prompt cache, fault counts, bill), touches no socket
and waits for nothing. Message Batches would be one more module beside this, answering its requests through `decide`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from scripts.simulator.behaviour import Behaviour
from scripts.simulator.bill import Bill
from scripts.simulator.buckets import RateLimits
from scripts.simulator.draws import draw
from scripts.simulator.errors import ApiError
from scripts.simulator.faults import DELIVERIES, ERRORS, Fault, FaultPlan
from scripts.simulator.messages import answer, message
from scripts.simulator.models import BY_NAME, MODELS, Model
from scripts.simulator.prompt_cache import PromptCache
from scripts.simulator.requests import Request, read_count, read_message
from scripts.simulator.usage import Usage, cost_nanousd


class Reply(NamedTuple):
    """What to send: an error, or a Message after `first_byte_s`, its text spread over `speaking_s`.

    `delivery`: the fault of the way it is sent, None for properly. `charge`: what the bill will say of it.
    """

    body: ApiError | dict[str, Any]
    headers: Mapping[str, str] = MappingProxyType({})
    first_byte_s: float = 0.0
    speaking_s: float = 0.0
    stream: bool = False
    delivery: str | None = None
    charge: Mapping[str, Any] = MappingProxyType({})

    @property
    def at_once(self) -> bool:
        """Whether it is a plain Message, sent whole, properly and now."""
        return not (self.stream or self.delivery or self.first_byte_s or self.speaking_s)


class Api:
    """The state of one simulated API. Times are unix seconds, given by the caller."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.bill = Bill()
        self._cache = PromptCache()
        self._faults = FaultPlan(behaviour.seed)
        self._limits = RateLimits(behaviour.read_limits)
        self._behave(behaviour)

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Change anything but the seed from the next request on. Raises `ValueError`."""
        behaviour = self.behaviour.changed(settings)
        if "limits" in settings:
            self._limits = RateLimits(behaviour.read_limits)
        self._behave(behaviour)

    def reset(self) -> None:
        """Empty bill, buckets, prompt cache and fault counts; the settings stay."""
        self.bill.clear()
        self._cache.clear()
        self._faults.reset()
        self._limits = RateLimits(self.behaviour.read_limits)

    def decide(self, raw: bytes, headers: Mapping[str, str], *, row: int, now: float) -> Reply:
        """The reply to a body for /v1/messages whose row in the bill is `row`."""
        try:
            authorise(headers)
            request = read_message(raw, self.behaviour.defaults)
        except ApiError as error:
            return Reply(error)
        charge = {
            "model": request.model.id,
            "document": request.markers.document,
            "document_key": request.document_key,
            "stream": request.stream,
        }
        fault = self._faults.next(request.document_id, request.markers)
        if fault is not None and fault.kind == "error_event" and not request.stream:
            fault = Fault("529")  # a plain request has no events: it meets the same trouble as a status
        if fault is None or fault.kind not in ERRORS:
            return self._answered(request, fault, row, now, charge)
        trouble = ERRORS[fault.kind](fault.argument)
        limits = self._limits.of(request.model.id, now).headers()
        return Reply(trouble, limits, stream=request.stream, charge={**charge, "fault": fault.kind})

    def count(self, raw: bytes, headers: Mapping[str, str]) -> dict[str, int]:
        """The answer to a body for /v1/messages/count_tokens. Raises `ApiError`."""
        authorise(headers)
        return {"input_tokens": read_count(raw).prompt_tokens}

    def _answered(self, request: Request, fault: Fault | None, row: int, now: float, charge: dict[str, Any]) -> Reply:
        said = answer(request, seed=self.behaviour.seed, fault=fault)
        first_byte_s = self._first_byte_s(request)
        buckets = self._limits.of(request.model.id, now)
        wait_s = buckets.wait_s(request.prompt_tokens, now)
        if wait_s > 0:
            error = ApiError(
                429, "This request would exceed your organization's rate limit.", retry_after_s=math.ceil(wait_s)
            )
            return Reply(error, buckets.headers(), stream=request.stream, charge={**charge, "fault": "rate_limit"})
        share = self._cache.share(request.model, request.blocks, now=now, ready_at=now + first_byte_s)
        plain = request.prompt_tokens - sum(share)
        usage = Usage(plain, *share, output=said.output_tokens, thinking=said.thinking_tokens)
        buckets.take(plain + share.write_5m + share.write_1h, said.output_tokens)
        kind = fault.kind if fault else ""
        return Reply(
            message(request, said, usage, f"msg_sim{self.bill.run}{row:012d}"),
            buckets.headers(),
            first_byte_s=first_byte_s,
            speaking_s=said.output_tokens / self.behaviour.tokens_per_s if self.behaviour.tokens_per_s else 0.0,
            stream=request.stream,
            delivery=kind if kind in DELIVERIES else None,
            charge={
                **charge,
                "fault": kind,
                "usage": usage,
                "nanousd": cost_nanousd(request.model, usage, geo=request.geo),
            },
        )

    def _first_byte_s(self, request: Request) -> float:
        if request.markers.latency_s is not None:
            return request.markers.latency_s
        if not self._latency.varies:
            return self._latency.first
        return self._latency.at(draw(self.behaviour.seed, "latency", request.document_id))

    def _behave(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self._latency = behaviour.read_latency
        self._faults.rates = behaviour.read_faults


def authorise(headers: Mapping[str, str]) -> None:
    """Raises `ApiError` 401 without a key (either header) or with one that begins with `bad`; 400 without a version."""
    key = headers.get("authorization", "").removeprefix("Bearer ") or headers.get("x-api-key", "")
    if not key or key.startswith("bad"):
        raise ApiError(401, "invalid x-api-key")
    if "anthropic-version" not in headers:
        raise ApiError(400, "anthropic-version: header is required")


def model_info(name: str) -> dict[str, Any]:
    """One model, by id or alias. Raises `ApiError` 404."""
    if name not in BY_NAME:
        raise ApiError(404, f"model: {name}")
    return BY_NAME[name].info()


def model_page(query: Mapping[str, str]) -> dict[str, Any]:
    """A page of `GET /v1/models`: at most `limit` (20), after `after_id` or before `before_id`. Raises `ApiError`."""
    models: list[Model] = list(MODELS)
    ids = [model.id for model in models]
    try:
        limit = int(query.get("limit", 20))
        after = ids.index(query["after_id"]) + 1 if "after_id" in query else 0
        before = ids.index(query["before_id"]) if "before_id" in query else len(ids)
    except ValueError:
        raise ApiError(400, "limit, after_id or before_id: no such number or model") from None
    if not 1 <= limit <= 1000:
        raise ApiError(400, f"limit: {limit} is not between 1 and 1000")
    chosen = models[after:before]
    page = chosen[-limit:] if "before_id" in query else chosen[:limit]
    return {
        "data": [model.info() for model in page],
        "has_more": len(page) < len(chosen),
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
    }
