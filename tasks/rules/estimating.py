"""What many documents are likely to use and to cost, before anything is sent: sums by route, each with a range."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple, Self

from config.catalogue import Complexity
from config.prices import Price
from tasks.model.call import Usage
from tasks.rules.expecting import Learned, Sample
from tasks.rules.limiting import Amounts
from tasks.rules.pricing import cost_nanousd

CHARACTERS_PER_TOKEN = 5.0, 3.5, 2.0
"""Low, likely and high, where nothing is known of the model: English has about 4, code 3, Japanese 2 to 3."""
SHARE_OF_ROOM = 0.1, 0.5, 1.0
"""The same for an answer, of its `max_tokens`."""
NEAR = 0.2
"""Of a boundary. So far off a rule of thumb may be, and more often than not is less."""


class Range(NamedTuple):
    """Low and high are what it comes to if every document is one standard deviation off, in the same direction."""

    low: int
    likely: int
    high: int

    def plus(self, other: Self) -> Self:
        """Both together."""
        return self._replace(low=self.low + other.low, likely=self.likely + other.likely, high=self.high + other.high)


NOTHING = Range(0, 0, 0)


class Asked(NamedTuple):
    """A document's prompt, as far as its cost goes."""

    recipe_hash: str
    model: str
    max_tokens: int
    is_pdf: bool
    characters: int


class Guess(NamedTuple):
    """What one document is likely to use: low, likely and high."""

    low: Usage
    likely: Usage
    high: Usage
    calibrated: bool
    """Told by calls of the same recipe and model, rather than by a rule of thumb."""

    def cost_nanousd(self, price: Price) -> Range:
        """What it costs then."""
        return Range(*(cost_nanousd(usage, price) for usage in self[:3]))

    @property
    def prompt(self) -> Range:
        """Tokens in."""
        return Range(*(usage.prompt for usage in self[:3]))

    @property
    def output(self) -> Range:
        """Tokens out."""
        return Range(*(usage.output for usage in self[:3]))


def guess(asked: Asked, learned: Learned, counted: int | None = None) -> Guess:
    """What a document is likely to use, by what documents like it used; `counted` is its prompt in tokens, if known."""
    density = learned.density(asked.model, is_pdf=asked.is_pdf)
    length = learned.length(asked.recipe_hash, asked.model, asked.max_tokens)
    if density is None:
        inputs = [asked.characters / each for each in CHARACTERS_PER_TOKEN]
    else:
        inputs = [asked.characters * max(0.0, each) for each in _around(density.mean, density.deviation)]
    cached = round(asked.characters * density.cached) if density else 0
    if counted is not None:
        inputs = [max(0.0, counted - cached)] * 3
    outputs = [asked.max_tokens * share for share in SHARE_OF_ROOM] if length is None else _around(*length[:2])
    low, likely, high = (
        Usage(input=round(tokens), cache_read=cached, output=max(1, round(written)))
        for tokens, written in zip(inputs, outputs, strict=True)
    )
    return Guess(low, likely, high, calibrated=density is not None and length is not None)


def _around(mean: float, deviation: float) -> list[float]:
    return [mean - deviation, mean, mean + deviation]


def whole_jobs(calls: Iterable[tuple[str, Sample]]) -> Iterator[Sample]:
    """All that each job used of one model, as one sample: a document that is asked about twice costs twice.

    `calls` are job ids with their samples, the oldest first.
    """
    by_job = sorted(calls, key=lambda call: (call[0], call[1].model))
    for _, group in groupby(by_job, key=lambda call: (call[0], call[1].model)):
        first, *again = (sample for _, sample in group)
        yield first._replace(
            uncached=first.uncached + sum(each.uncached for each in again),
            cached=first.cached + sum(each.cached for each in again),
            output=first.output + sum(each.output for each in again),
        )


def is_near(tokens: int, boundary: int | None) -> bool:
    """Whether a rule of thumb cannot tell on which side of the boundary a prompt is."""
    return boundary is not None and abs(tokens - boundary) <= NEAR * boundary


@dataclass(slots=True)
class RouteEstimate:
    """The documents that go the same way."""

    complexity: Complexity
    model: str
    price: Price | None
    """None where the model has none: the cost is unknown then, and not zero."""
    documents: int = 0
    calibrated: int = 0
    """Documents whose guess rests on calls there were."""
    counted: int = 0
    """Documents whose prompt Claude counted."""
    prompt: Range = NOTHING
    output: Range = NOTHING
    cost_nanousd: Range = NOTHING

    def add(self, one: Guess, *, counted: bool) -> None:
        """Add a document."""
        self.documents += 1
        self.calibrated += one.calibrated
        self.counted += counted
        self.prompt = self.prompt.plus(one.prompt)
        self.output = self.output.plus(one.output)
        if self.price is not None:
            self.cost_nanousd = self.cost_nanousd.plus(one.cost_nanousd(self.price))

    def fields(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "complexity": self.complexity.value,
            "model": self.model,
            "documents": self.documents,
            "calibrated": self.calibrated,
            "counted": self.counted,
            "tokens_in": self.prompt._asdict(),
            "tokens_out": self.output._asdict(),
            "cost_nanousd": self.cost_nanousd._asdict() if self.price is not None else None,
            "price_source": self.price.source if self.price is not None else None,
            "price_version": self.price.version if self.price is not None else None,
        }


@dataclass(slots=True)
class Estimate:
    """A whole submission. Documents that were submitted before, or that no model takes, cost nothing."""

    routes: dict[tuple[Complexity, str], RouteEstimate] = field(default_factory=dict)
    known: int = 0
    """Documents submitted before, or twice: not run again."""
    too_long: int = 0
    """Documents that their model does not take: they would become dead letters, unpaid."""

    @property
    def documents(self) -> int:
        """Those to be paid for."""
        return sum(route.documents for route in self.routes.values())

    @property
    def unpriced(self) -> int:
        """Documents of models without a price."""
        return sum(route.documents for route in self.routes.values() if route.price is None)

    @property
    def prompt(self) -> Range:
        """Tokens in."""
        return _total(route.prompt for route in self.routes.values())

    @property
    def output(self) -> Range:
        """Tokens out."""
        return _total(route.output for route in self.routes.values())

    @property
    def cost_nanousd(self) -> Range:
        """In all, `unpriced` documents left out."""
        return _total(route.cost_nanousd for route in self.routes.values())

    def of(self, complexity: Complexity, model: str, price: Price | None) -> RouteEstimate:
        """The route's sums, begun with its first document."""
        return self.routes.setdefault((complexity, model), RouteEstimate(complexity, model, price))

    def fields(self) -> dict[str, Any]:
        """As JSON, for a program and for the ledger. A cost is null where a model has no price."""
        return {
            "documents": self.documents,
            "known": self.known,
            "too_long": self.too_long,
            "unpriced": self.unpriced,
            "calibrated": sum(route.calibrated for route in self.routes.values()),
            "counted": sum(route.counted for route in self.routes.values()),
            "tokens_in": self.prompt._asdict(),
            "tokens_out": self.output._asdict(),
            "cost_nanousd": self.cost_nanousd._asdict()
            if self.unpriced < self.documents or not self.documents
            else None,
            "routes": [route.fields() for route in self.routes.values()],
        }


def _total(ranges: Iterable[Range]) -> Range:
    total = NOTHING
    for each in ranges:
        total = total.plus(each)
    return total


def minutes(used: Iterable[RouteEstimate], rates: Mapping[str, Amounts], class_of: Mapping[str, str]) -> float | None:
    """How long the documents take at these rates per minute by class of model; None where a class has none.

    Classes work beside each other; the models of one class (`class_of`) share its limits. Tokens in leave out what is
    read from the cache where the guess knows of it.
    """
    loads: dict[str, list[float]] = {}
    for route in used:
        load = loads.setdefault(class_of.get(route.model, route.model), [0.0, 0.0, 0.0])
        for position, amount in enumerate((route.documents, route.prompt.likely, route.output.likely)):
            load[position] += amount
    longest = 0.0
    for name, load in loads.items():
        known = [amount / rate for amount, rate in zip(load, rates.get(name, Amounts()), strict=True) if rate > 0]
        if not known:
            return None
        longest = max(longest, *known)
    return longest
