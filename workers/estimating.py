"""What documents are likely to cost before they are sent: each routed as a worker would, and guessed by past calls.

The arithmetic is in `tasks.rules.estimating`. Writes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import fmean
from typing import NamedTuple

from config.catalogue import Catalogue, Complexity
from config.prices import Price, PriceBook, UnknownPrice
from config.recipe import Recipe
from tasks.model.call import Prompt, Route
from tasks.model.fault import Fault
from tasks.model.job import Document, Job
from tasks.rules.estimating import Asked, Estimate, Guess, guess, is_near, whole_jobs
from tasks.rules.expecting import ENOUGH, Learned
from tasks.rules.limiting import Amounts
from tasks.rules.prompting import prompt_characters, write_prompt
from tasks.rules.routing import choose
from workers.ledger import Database, NewItem, PastCall, recent_samples

PAST_CALLS = 10_000
"""Newest calls of the ledger that tell what the next ones will be: a fraction of a second to read."""
COUNTED_AT_ONCE = 8
"""Prompts near a boundary, and so large, that are held until Claude counts them."""

RECENT = timedelta(hours=1)
"""How fast a model answered before that says little of now."""
BUSY_S = 10
"""A span in which a model answered anything is one in which it was at work."""

Count = Callable[[Sequence[tuple[Prompt, Route]]], Sequence[int | None]]
"""Tokens of these prompts; None for one that could not be counted."""


@dataclass(frozen=True, slots=True)
class Past:
    """What the ledger's newest calls tell."""

    learned: Learned
    """Of all that each job used."""
    rates: Mapping[str, Amounts]
    """What each model did per minute within the last hour; a model that did little is not in it."""
    call_s: Mapping[str, float]
    """Mean length of a call to each of these models, in seconds."""


class _Near(NamedTuple):
    """A document on which side of a boundary only Claude can tell."""

    complexity: Complexity
    asked: Asked
    guess: Guess
    prompt: Prompt
    route: Route


class Estimator:
    """Adds up the documents of one submission."""

    def __init__(self, catalogue: Catalogue, prices: PriceBook, learned: Learned, count: Count | None = None) -> None:
        """`count` is asked about prompts near a boundary; None leaves them to the rule of thumb."""
        self._catalogue = catalogue
        self._prices = prices
        self._learned = learned
        self._count = count
        self._at = datetime.now(UTC)
        self._recipe_hashes: dict[int, tuple[Recipe, str]] = {}
        self._near: list[_Near] = []
        self._estimate = Estimate()

    def add(self, item: NewItem) -> None:
        """Add a document that is to run."""
        document = _document(item)
        try:
            # How the call is sent makes no difference to its cost.
            route = choose(_job(item, document), self._catalogue, silence_timeout_s=1)
        except Fault:
            self._estimate.too_long += 1
            return
        asked = Asked(
            self._hash_of(item.recipe),
            route.model,
            route.max_tokens,
            document.text is None,
            prompt_characters(document, item.recipe, item.values),
        )
        one = guess(asked, self._learned)
        if self._count is None or not self._is_near_boundary(one, route.model):
            self._take(item.complexity, route.model, one)
            return
        try:
            prompt = write_prompt(document, item.recipe, item.values)
        except Fault:
            self._estimate.too_long += 1
            return
        self._near.append(_Near(item.complexity, asked, one, prompt, route))
        if len(self._near) == COUNTED_AT_ONCE:
            self._count_near(self._count)

    def known(self) -> None:
        """Note a document that has a job already, and so costs nothing."""
        self._estimate.known += 1

    def estimate(self) -> Estimate:
        """All that was added."""
        if self._count is not None and self._near:
            self._count_near(self._count)
        return self._estimate

    def _count_near(self, count: Count) -> None:
        near, self._near = self._near, []
        for one, tokens in zip(near, count([(each.prompt, each.route) for each in near]), strict=True):
            told = one.guess if tokens is None else guess(one.asked, self._learned, tokens)
            self._take(one.complexity, one.asked.model, told, counted=tokens is not None)

    def _take(self, complexity: Complexity, model: str, one: Guess, *, counted: bool = False) -> None:
        if one.likely.prompt > self._catalogue.models[model].window_tokens:
            self._estimate.too_long += 1
            return
        self._estimate.of(complexity, model, self._price(model)).add(one, counted=counted)

    def _is_near_boundary(self, one: Guess, model: str) -> bool:
        price = self._price(model)
        dearer = price.long_prompt_tokens if price is not None else None
        return any(is_near(one.likely.prompt, each) for each in (dearer, self._catalogue.models[model].window_tokens))

    def _price(self, model: str) -> Price | None:
        try:
            return self._prices.price(model, self._at)
        except UnknownPrice:
            return None

    def _hash_of(self, recipe: Recipe) -> str:
        """Of a recipe that comes again and again: reckoning it anew takes longer than all the rest."""
        found = self._recipe_hashes.get(id(recipe))
        if found is None:
            found = self._recipe_hashes[id(recipe)] = recipe, recipe.hash
        return found[1]


def read_past(database: Database, *, synthetic: bool | None) -> Past:
    """What an `Estimator` goes by. `synthetic` is as for `recent_samples`. Raises `LedgerError`."""
    calls = recent_samples(database, PAST_CALLS, synthetic=synthetic)
    by_model: defaultdict[str, list[PastCall]] = defaultdict(list)
    since = database.now() - RECENT
    for call in calls:
        if call.sent_at > since:
            by_model[call.sample.model].append(call)
    busy = {model: recent for model, recent in by_model.items() if len(recent) >= ENOUGH}
    return Past(
        learned=Learned(whole_jobs((call.job_id, call.sample) for call in calls)),
        rates={model: _rate(recent) for model, recent in busy.items()},
        call_s={model: fmean(call.took_s for call in recent) for model, recent in busy.items()},
    )


def _rate(calls: Sequence[PastCall]) -> Amounts:
    """Per minute in which the model was at work."""
    busy = {int(call.finished_at.timestamp()) // BUSY_S for call in calls}
    minutes = len(busy) * BUSY_S / 60
    return Amounts(
        requests=len({call.job_id for call in calls}) / minutes,
        input=sum(call.sample.uncached + call.sample.cached for call in calls) / minutes,
        output=sum(call.sample.output for call in calls) / minutes,
    )


def _document(item: NewItem) -> Document:
    new = item.document
    if new.text is not None or new.media_type == "application/pdf":
        pdf = new.content if new.text is None else None
        return Document(new.hash, item.name, new.text, pdf, new.pages)
    return Document(new.hash, item.name, new.content.decode("utf-8", "replace"), None, new.pages)


def _job(item: NewItem, document: Document) -> Job:
    return Job(
        id="",
        token="",
        generation=0,
        attempt=0,
        throttles=0,
        complexity=item.complexity,
        model=item.model,
        recipe=item.recipe,
        values=item.values,
        document=document,
        queued_ms=0,
    )
