"""One request to Claude: what was asked, what came back, what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from config.prices import Price
from tasks.model.job import Document


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, as billed. The counts do not overlap: `input` leaves out cached tokens.

    `thinking` is part of `output`; it is told for the record and not billed again.
    """

    input: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    cache_read: int = 0
    output: int = 0
    thinking: int = 0

    @property
    def prompt(self) -> int:
        """All tokens of the prompt, cached or not."""
        return self.input + self.cache_write_5m + self.cache_write_1h + self.cache_read


@dataclass(frozen=True, slots=True)
class Route:
    """The model chosen for a job, with the reason."""

    model: str
    max_tokens: int
    reason: str
    stream: bool
    """Whether the answer is streamed: a plain call is silent until its end, so it could not be told from a hang."""
    deadline_s: float
    """Wall clock for the whole call."""
    disable_thinking: bool = False
    """Told to models that would think, and bill it as output, unless asked not to."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is said to Claude; `tasks.rules.prompting.messages` writes it out when it is sent, and nobody holds that.

    The ledger keeps the shell once per recipe and values, and the document once: together they are the prompt.
    """

    system: str
    document: Document = field(repr=False)
    instruction: str
    shell: str
    """Canonical JSON of system, messages and output_schema, the document's content replaced by `DOCUMENT_MARK`."""
    output_schema: Mapping[str, Any] | None
    characters: int
    """Length of all its text, see `tasks.rules.prompting.length`; of a PDF sent as it is, an equivalent."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A Message of Claude's: paid for, whatever it is worth."""

    text: str
    stop_reason: str
    refusal: str | None
    """Category of a refusal; None when it is none."""
    model: str
    """Model that answered, as it calls itself."""
    usage: Usage
    request_id: str | None
    first_byte_ms: int
    total_ms: int
    synthetic: bool
    """Said by the simulator and not by Claude."""
    us_only: bool = False
    """Inference was kept in the US, which costs more."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer on disk, with what it takes to settle its job: the claim it belongs to, and the call as it was sent."""

    token: str
    call: Call
    answer: Answer


@dataclass(frozen=True, slots=True)
class Expected:
    """What a call of a recipe to a model is likely to use, by the calls there were. Tokens, as billed."""

    input: int
    """Of the prompt that counts toward rate limits: uncached, or written to the cache. Mean and one standard deviation,
    as of the output: what a rate limiter reckons with."""
    output: int
    most_input: int
    """99 of 100 prompts so long have no more: what a budget holds. The most there can be while too little is known."""
    most_output: int
    """The same of answers; `max_tokens` while too little is known."""
    cache_read: int = 0
    """Of the prompt, too: billed, and free of rate limits."""


class CallState(StrEnum):
    """What is known of a call."""

    SENT = "sent"
    """The intent row: written before the request goes out."""
    ANSWERED = "answered"
    FAILED = "failed"
    """The API refused it and does not bill it."""
    UNKNOWN = "unknown"
    """It may have been billed; the cost is unknown and an estimate stands beside it."""


@dataclass(frozen=True, slots=True)
class Call:
    """A row of the ledger, before or after the answer. `None` means not known; it never means 0."""

    id: str
    job_id: str
    attempt: int
    generation: int
    model: str
    max_tokens: int
    shell_hash: str
    document_hash: str
    queued_ms: int
    estimate_nanousd: int | None
    """What it would cost at most, told before the answer; None for a model without a price."""
    held_nanousd: int | None = None
    """What it will hardly cost more than: held of the budgets until it ends. None without a price."""
    characters: int | None = None
    """Of the prompt; of a PDF sent as it is, an equivalent."""
    day: str = ""
    """Day in the configured time zone that it is sent, as `2026-11-22`."""
    sent_at: datetime | None = None
    """The moment whose price it has; None until it is written down."""
    state: CallState = CallState.SENT
    usage: Usage | None = None
    cost_nanousd: int | None = None
    price: Price | None = None
    """What it was reckoned by; None where the cost is unknown, or nothing for a request that was refused."""
    multipliers: Mapping[str, str] | None = None
    """What the rates were multiplied by, by name, where anything was: `{"long_prompt": "5"}`."""
    request_id: str | None = None
    status: int | None = None
    stop_reason: str | None = None
    fault: str | None = None
    first_byte_ms: int | None = None
    total_ms: int | None = None
    synthetic: bool = False
    text: str | None = None
    """The answer as it came, also one that broke the contract."""
