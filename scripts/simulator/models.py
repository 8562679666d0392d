"""The models the simulator serves: windows, limits, prices, and what each refuses.

Its own table, on purpose independent of docmill's catalogue and of genai-prices. Rates are integers, because
USD per million tokens times 1,000 is nano-dollars per token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ALL_EFFORTS = frozenset({"low", "medium", "high", "xhigh", "max"})
UNKNOWN_RELEASE = "1970-01-01T00:00:00Z"  # what the real API says where it does not know


@dataclass(frozen=True, slots=True)
class Rates:
    """Nano-dollars per token."""

    input: int
    output: int
    write_5m: int
    write_1h: int
    read: int


@dataclass(frozen=True, slots=True)
class Model:
    """One model. A prompt of more than `long_above_tokens` (cached tokens count) has every token at `long_rates`."""

    id: str
    line: str
    display_name: str
    rates: Rates
    cache_floor_tokens: int
    window_tokens: int = 1_000_000
    max_output_tokens: int = 128_000
    pdf_pages: int = 600
    long_above_tokens: int | None = None
    long_rates: Rates | None = None
    new_tokenizer: bool = True
    thinks_by_default: bool = True
    thinking_types: frozenset[str] = frozenset({"disabled", "adaptive", "between_tools"})
    efforts: frozenset[str] = ALL_EFFORTS
    takes_geo: bool = True
    takes_prefill: bool = False
    takes_forced_tool: bool = True
    lifecycle: str = "active"
    created_at: str = UNKNOWN_RELEASE
    alias: str | None = None

    def rates_for(self, prompt_tokens: int) -> Rates:
        """The rates of a prompt of this length, cached tokens included."""
        if self.long_rates is not None and self.long_above_tokens is not None:
            return self.long_rates if prompt_tokens > self.long_above_tokens else self.rates
        return self.rates

    def info(self) -> dict[str, Any]:
        """The model as `GET /v1/models/{id}` shows it."""
        return {
            "type": "model",
            "id": self.id,
            "display_name": self.display_name,
            "line": self.line,
            "created_at": self.created_at,
            "lifecycle": self.lifecycle,
            "deprecated_at": self.created_at if self.lifecycle == "deprecated" else None,
            "retires_at": None,
            "max_input_tokens": self.window_tokens,
            "max_tokens": self.max_output_tokens,
            "capabilities": self._capabilities(),
        }

    def _capabilities(self) -> dict[str, Any]:
        thinking = {kind: _supported(kind in self.thinking_types) for kind in sorted(THINKING_TYPES)}
        efforts = {effort: _supported(effort in self.efforts) for effort in sorted(ALL_EFFORTS)}
        no, yes = _supported(False), _supported(True)
        return {
            "batch": no,
            "citations": no,
            "code_execution": no,
            "context_management": {"supported": False},
            "effort": {"supported": bool(self.efforts), **efforts},
            "image_input": yes,
            "pdf_input": yes,
            "server_tools": {"supported": False, "code_execution": no, "web_search": no},
            "structured_outputs": yes,
            "thinking": {"supported": True, "types": thinking},
        }


THINKING_TYPES = frozenset({"adaptive", "between_tools", "disabled", "enabled"})


def _supported(supported: bool) -> dict[str, bool]:
    return {"supported": supported}


# Read 2026-11-22. Where the minimum cacheable prefix is told in two ways (Sonnet 4.6), the one that was observed.
MODELS = (
    Model(
        "claude-haiku-5-5",
        "haiku",
        "Claude Haiku 5.5",
        Rates(100, 500, 125, 200, 10),
        cache_floor_tokens=512,
        long_above_tokens=100_000,
        long_rates=Rates(500, 2_500, 625, 1_000, 50),
        created_at="2026-10-07T00:00:00Z",
    ),
    Model(
        "claude-sonnet-5-5",
        "sonnet",
        "Claude Sonnet 5.5",
        Rates(2_000, 10_000, 2_500, 4_000, 100),
        cache_floor_tokens=512,
        takes_forced_tool=False,
    ),
    Model(
        "claude-opus-5-5", "opus", "Claude Opus 5.5", Rates(4_000, 20_000, 5_000, 8_000, 200), cache_floor_tokens=512
    ),
    Model(
        "claude-fable-5-2",
        "fable",
        "Claude Fable 5.2",
        Rates(8_000, 40_000, 10_000, 16_000, 200),
        cache_floor_tokens=512,
    ),
    Model(
        "claude-sonnet-5",
        "sonnet",
        "Claude Sonnet 5",
        Rates(2_000, 10_000, 2_500, 4_000, 200),
        cache_floor_tokens=1_024,
    ),
    Model(
        "claude-opus-4-8", "opus", "Claude Opus 4.8", Rates(5_000, 25_000, 6_250, 10_000, 500), cache_floor_tokens=1_024
    ),
    Model(
        "claude-sonnet-4-6",
        "sonnet",
        "Claude Sonnet 4.6",
        Rates(3_000, 15_000, 3_750, 6_000, 300),
        cache_floor_tokens=2_048,
        new_tokenizer=False,
        thinks_by_default=False,
        thinking_types=frozenset({"disabled", "adaptive", "enabled"}),
        efforts=ALL_EFFORTS - {"xhigh"},
        lifecycle="deprecated",
    ),
    Model(
        "claude-haiku-4-5-20251001",
        "haiku",
        "Claude Haiku 4.5",
        Rates(1_000, 5_000, 1_250, 2_000, 100),
        cache_floor_tokens=4_096,
        window_tokens=200_000,
        max_output_tokens=64_000,
        pdf_pages=100,
        new_tokenizer=False,
        thinks_by_default=False,
        thinking_types=frozenset({"disabled", "enabled"}),
        efforts=frozenset(),
        takes_geo=False,
        takes_prefill=True,
        lifecycle="deprecated",
        created_at="2025-10-01T00:00:00Z",
        alias="claude-haiku-4-5",
    ),
)
BY_NAME = {name: model for model in MODELS for name in (model.id, model.alias) if name}
