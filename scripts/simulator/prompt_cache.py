"""Prompt caching by prefix: which part of a prompt was seen before, and which part is kept from now on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from scripts.simulator.models import Model

LOOKBACK_BLOCKS = 20
TTL_S = {"5m": 300.0, "1h": 3600.0}
PRUNE_ABOVE = 50_000


class Block(NamedTuple):
    """A piece of the prompt, in prefix order: tools, system, messages. `ttl` where it ends a cached prefix."""

    content: str
    tokens: int
    ttl: str | None = None


class Share(NamedTuple):
    """How the cached part of a prompt divides, in tokens; the rest is plain input."""

    write_5m: int = 0
    write_1h: int = 0
    read: int = 0


class Entry(NamedTuple):
    """A kept prefix, readable from the start of the answer that wrote it."""

    ready_at: float
    expires_at: float


class PromptCache:
    """Kept prefixes by hash. Times are seconds on the caller's clock."""

    def __init__(self) -> None:
        self._entries: dict[bytes, Entry] = {}

    def share(self, model: Model, blocks: Sequence[Block], *, now: float, ready_at: float) -> Share:
        """Read what is there, keep what is marked, readable from `ready_at` on."""
        ends = [index for index, block in enumerate(blocks) if block.ttl]
        if not ends:
            return Share()
        digests, sizes = _prefixes(model, blocks)
        read = self._longest_hit(digests, sizes, ends, now)
        share = Share(read=read)
        covered = read
        for end in ends:
            ttl = blocks[end].ttl
            if ttl is None or sizes[end] < model.cache_floor_tokens:
                continue  # too short a prefix is silently not cached
            new = max(0, sizes[end] - covered)
            covered = max(covered, sizes[end])
            share = share._replace(**{f"write_{ttl}": getattr(share, f"write_{ttl}") + new})
            self._keep(digests[end], ttl, now=now, ready_at=ready_at)
        return share

    def clear(self) -> None:
        """Forget every prefix."""
        self._entries.clear()

    def _longest_hit(self, digests: list[bytes], sizes: list[int], ends: list[int], now: float) -> int:
        for end in reversed(ends):
            for index in range(end, max(-1, end - LOOKBACK_BLOCKS), -1):
                entry = self._entries.get(digests[index])
                if entry is not None and entry.ready_at <= now < entry.expires_at:
                    return sizes[index]
        return 0

    def _keep(self, digest: bytes, ttl: str, *, now: float, ready_at: float) -> None:
        if len(self._entries) > PRUNE_ABOVE:
            self._entries = {key: entry for key, entry in self._entries.items() if entry.expires_at > now}
        kept = self._entries.get(digest)
        alive = kept is not None and kept.expires_at > now
        self._entries[digest] = Entry(kept.ready_at if kept and alive else ready_at, ready_at + TTL_S[ttl])


def _prefixes(model: Model, blocks: Sequence[Block]) -> tuple[list[bytes], list[int]]:
    """The hash and the size in tokens of the prompt up to and including each block."""
    running = hashlib.sha256(model.id.encode())
    digests, sizes, size = [], [], 0
    for block in blocks:
        running.update(b"\0" + block.content.encode("utf-8", "replace"))
        size += block.tokens
        digests.append(running.digest())
        sizes.append(size)
    return digests, sizes
