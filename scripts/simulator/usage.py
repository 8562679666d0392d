"""What a call used and what that costs, in integer nano-dollars."""

from __future__ import annotations

from typing import Any, NamedTuple

from scripts.simulator.models import Model


class Usage(NamedTuple):
    """Tokens of one call. The counts do not overlap, except that `output` includes `thinking`."""

    input: int
    write_5m: int
    write_1h: int
    read: int
    output: int
    thinking: int = 0

    @property
    def prompt(self) -> int:
        """Every token of the prompt, cached or not."""
        return self.input + self.write_5m + self.write_1h + self.read

    def as_api(self, *, geo: str) -> dict[str, Any]:
        """The `usage` object of a Message."""
        return {
            "input_tokens": self.input,
            "cache_creation_input_tokens": self.write_5m + self.write_1h,
            "cache_read_input_tokens": self.read,
            "cache_creation": {"ephemeral_5m_input_tokens": self.write_5m, "ephemeral_1h_input_tokens": self.write_1h},
            "output_tokens": self.output,
            "output_tokens_details": {"thinking_tokens": self.thinking} if self.thinking else None,
            "service_tier": "standard",
            "inference_geo": geo,
            "server_tool_use": None,
        }


def cost_nanousd(model: Model, usage: Usage, *, geo: str = "global") -> int:
    """Exact cost of one call. Inference kept in the US costs 11/10, rounded half up to a nano-dollar."""
    rates = model.rates_for(usage.prompt)
    total = (
        usage.input * rates.input
        + usage.write_5m * rates.write_5m
        + usage.write_1h * rates.write_1h
        + usage.read * rates.read
        + usage.output * rates.output
    )
    return (total * 11 + 5) // 10 if geo == "us" else total
