"""What calls are likely to use, by those there were: how many tokens a character has, and how long answers get.

Arithmetic only. `workers.expectations` learns from each call; `tasks.rules.estimating` adds up many documents.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Hashable, Iterable, MutableMapping
from math import ceil, sqrt
from typing import NamedTuple, Self, TypeVar

from tasks.model.call import Expected
from tasks.rules.pricing import CHARACTERS_PER_TOKEN

ENOUGH = 20
"""Samples. With fewer, the careful default holds: a mean of three says little about the fourth."""
WINDOW = 500
"""Samples that count, the newest: a recipe's documents change over the weeks."""
MOST_KEYS = 1_000
"""Recipes and models that are kept in mind; the one first met is forgotten first."""
NORMAL_P99 = 2.33
"""Standard deviations. The largest of 20 samples is only their 95th percentile, so it is not taken for the 99th."""
UNKNOWN_DENSITY = 1 / 3, 1 / CHARACTERS_PER_TOKEN
"""Tokens per character, where nothing is known: of most documents, and the most there are."""


class Sample(NamedTuple):
    """What one answered call, or all calls of one job, used."""

    recipe_hash: str
    model: str
    max_tokens: int
    is_pdf: bool
    """A PDF sent as it is: `characters` is an equivalent."""
    characters: int
    """Of the prompt."""
    uncached: int
    """Tokens of the prompt, read anew or written to the cache."""
    cached: int
    """Tokens of the prompt, read from the cache."""
    output: int


class Density(NamedTuple):
    """Tokens per character, weighted by characters: times the characters of many prompts it gives their tokens."""

    mean: float
    """Of those read anew, or written to the cache."""
    deviation: float
    cached: float
    """The mean of those read from the cache."""


class Length(NamedTuple):
    """Tokens of an answer."""

    mean: float
    deviation: float
    most: int
    """The 99th percentile, told carefully."""


class Densities:
    """The newest calls' tokens per character. Adding one takes the same time however many there are."""

    __slots__ = ("_cached", "_characters", "_squares", "_uncached", "_window")

    def __init__(self) -> None:
        self._window: deque[tuple[int, int, int]] = deque()
        self._characters = self._uncached = self._cached = 0
        self._squares = 0.0

    def add(self, sample: Sample) -> None:
        """Take in one; `characters` is at least 1."""
        if len(self._window) == WINDOW:
            self._count(*self._window.popleft(), -1)
        newest = sample.characters, sample.uncached, sample.cached
        self._window.append(newest)
        self._count(*newest, 1)

    def now(self) -> Density | None:
        """What they come to; None while there are too few."""
        if len(self._window) < ENOUGH:
            return None
        mean = self._uncached / self._characters
        variance = self._squares / self._characters - mean * mean
        return Density(mean, sqrt(max(0.0, variance)), self._cached / self._characters)

    def _count(self, characters: int, uncached: int, cached: int, sign: int) -> None:
        self._characters += sign * characters
        self._uncached += sign * uncached
        self._cached += sign * cached
        self._squares += sign * (uncached * uncached / characters)


class Lengths:
    """The newest answers' lengths in tokens. Adding one takes microseconds: the window is short."""

    __slots__ = ("_sorted", "_squares", "_sum", "_window")

    def __init__(self) -> None:
        self._window: deque[int] = deque()
        self._sorted: list[int] = []
        self._sum = self._squares = 0

    def add(self, length: int) -> None:
        """Take in one."""
        if len(self._window) == WINDOW:
            oldest = self._window.popleft()
            del self._sorted[bisect_left(self._sorted, oldest)]
            self._sum -= oldest
            self._squares -= oldest * oldest
        self._window.append(length)
        insort(self._sorted, length)
        self._sum += length
        self._squares += length * length

    def now(self) -> Length | None:
        """What they come to; None while there are too few."""
        count = len(self._sorted)
        if count < ENOUGH:
            return None
        mean = self._sum / count
        deviation = sqrt(count * self._squares - self._sum * self._sum) / count
        rank = -(-99 * count // 100)
        return Length(mean, deviation, max(self._sorted[rank - 1], ceil(mean + NORMAL_P99 * deviation)))


class Learned:
    """All there is to know: tokens per character by model and kind, lengths of answers by recipe, model and room.

    An answer that was cut off is asked for again with twice the room, and has samples of its own there: those with
    less room were shorter because they had to be.
    """

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        self._densities: dict[tuple[str, bool], Densities] = {}
        self._lengths: dict[tuple[str, str, int], Lengths] = {}
        for sample in samples:
            self.add(sample)

    def add(self, sample: Sample) -> None:
        """Take in one, the newest."""
        if sample.characters > 0:
            _of(self._densities, (sample.model, sample.is_pdf), Densities).add(sample)
        _of(self._lengths, (sample.recipe_hash, sample.model, sample.max_tokens), Lengths).add(sample.output)

    def renew(self, fresh: Self) -> None:
        """Let `fresh` say what it has something to say about."""
        for key, densities in fresh._densities.items():
            _put(self._densities, key, densities)
        for room, lengths in fresh._lengths.items():
            _put(self._lengths, room, lengths)

    def density(self, model: str, *, is_pdf: bool) -> Density | None:
        """Of a prompt to this model; None while too little is known."""
        known = self._densities.get((model, is_pdf))
        return None if known is None else known.now()

    def length(self, recipe_hash: str, model: str, max_tokens: int) -> Length | None:
        """Of an answer; None while too little is known."""
        known = self._lengths.get((recipe_hash, model, max_tokens))
        return None if known is None else known.now()

    def expect(
        self, recipe_hash: str, model: str, characters: int, max_tokens: int, *, is_pdf: bool = False
    ) -> Expected:
        """What a call will hardly exceed; a careful default while too little is known."""
        density = self.density(model, is_pdf=is_pdf)
        length = self.length(recipe_hash, model, max_tokens)
        per_character, most_per_character = UNKNOWN_DENSITY
        if density is not None:
            per_character = density.mean + density.deviation
            most_per_character = density.mean + NORMAL_P99 * density.deviation
        return Expected(
            input=int(characters * per_character) + 1,
            most_input=int(characters * most_per_character) + 1,
            output=min(ceil(length.mean + length.deviation), max_tokens) if length else max_tokens,
            most_output=min(length.most, max_tokens) if length else max_tokens,
            cache_read=int(characters * density.cached) if density else 0,
        )


K = TypeVar("K", bound=Hashable)
W = TypeVar("W", Densities, Lengths)


def _of(known: MutableMapping[K, W], key: K, make: type[W]) -> W:
    found = known.get(key)
    if found is None:
        found = make()
        _put(known, key, found)
    return found


def _put(known: MutableMapping[K, W], key: K, window: W) -> None:
    known[key] = window
    if len(known) > MOST_KEYS:
        del known[next(iter(known))]
