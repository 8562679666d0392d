"""The Claude edge: the one place that knows the Anthropic SDK.

A prompt and a route go in; an `Answer` comes out, or one of our faults, which hold neither the key nor the prompt.
"""

from workers.claude.client import ClaudeClient

__all__ = ["ClaudeClient"]
