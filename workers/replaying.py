"""Replaying and discarding jobs that wait for a person: the part of docmill that other programs call for it.

    from workers.ledger import LetterFilter
    from workers.replaying import Change, DeadLetters

    with DeadLetters.open() as dead:
        wanted = dead.as_of_now(LetterFilter(fault="Truncated", recipe="summarize"))
        change = Change(max_tokens=4_000)
        print(dead.preview(wanted, change))
        print(dead.replay(wanted, change, per_minute=100))

Jobs are queued in the ledger, and wait there for their turn to be published, or for their time: see `workers.feeder`.
Whoever stops in between loses nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Self

import structlog
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from config.catalogue import Complexity
from config.prices import PriceBook, UnknownPrice, load_prices
from config.settings import Settings, load_settings
from tasks.model.job import JobState
from tasks.rules.pricing import estimate_nanousd
from tasks.rules.replaying import Asked, BadEdit, Edit, call_of, changes, edited, prompt_characters
from workers.ledger import (
    Again,
    Anew,
    Letter,
    LetterFilter,
    Replayed,
    discard_letters,
    read_letters,
    replace_letters,
    replay_letters,
)
from workers.producer import BadRequest, Producer
from workers.transport import Bell, channel_of

log = structlog.get_logger("docmill.replaying")


@dataclass(frozen=True, slots=True)
class Change:
    """What is asked differently this time. With nothing in it, the same jobs run again."""

    model: str | None = None
    max_tokens: int | None = None
    recipe: str | None = None
    """By name, as it is written now."""
    values: Mapping[str, str] = field(default_factory=dict)
    complexity: Complexity | None = None


@dataclass(slots=True)
class Preview:
    """What a replay would do."""

    letters: int = 0
    same: int = 0
    """Of these, run again as they are; the others become new jobs."""
    estimate_nanousd: int = 0
    """What the first attempts would cost at most, without those of `unpriced`."""
    unpriced: int = 0
    """Letters whose model has no price: what they would cost is not known, and is not zero."""
    maybe_paid_nanousd: int = 0
    """What their calls of unknown cost may have cost already, at most."""
    changes: Counter[str] = field(default_factory=Counter)
    """`model: old -> new`, and how many letters it changes."""


@dataclass(slots=True)
class Outcome:
    """What a replay did."""

    again: int = 0
    """Jobs that run again."""
    created: int = 0
    """Jobs made in the place of a letter's."""
    linked: int = 0
    """Letters whose wish had a job already, which answers for them now."""
    overtaken: int = 0
    """Letters that somebody else decided about in the meantime."""

    @property
    def replayed(self) -> int:
        """Letters that are none any more."""
        return self.again + self.created + self.linked


class DeadLetters:
    """What a person may do with jobs that were given up or are uncertain: which, `LetterFilter.state` says."""

    def __init__(self, producer: Producer, prices: PriceBook) -> None:
        self._producer = producer
        self.database = producer.database
        self._prices = prices
        self._closing = ExitStack()

    @classmethod
    def open(cls, settings: Settings | None = None) -> Self:
        """Open the ledger. The broker is not asked for before something is published. Raises as `Producer.open`."""
        settings = settings or load_settings()
        prices = load_prices(settings.home)
        producer = Producer.open(settings)
        opened = cls(producer, prices)
        opened._closing.enter_context(producer)
        return opened

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def as_of_now(self, wanted: LetterFilter) -> LetterFilter:
        """The same filter without what will be given up from now on: a preview and its replay mean the same letters.

        Raises `BadRequest` for an empty one: say `everything=True` to mean all there are.
        """
        if wanted.empty:
            raise BadRequest("no letters named: give ids or a filter, or --all to mean every one")
        now = self.database.now()
        return replace(wanted, until=min(wanted.until or now, now))

    def preview(self, wanted: LetterFilter, change: Change | None = None) -> Preview:
        """Count, cost and changes of a replay. Changes nothing. Raises as `replay`."""
        wanted, edit = self.as_of_now(wanted), self.edit(change or Change())
        told = Preview()
        for letter, before, after in self._wishes(wanted, edit):
            told.letters += 1
            told.same += before == after
            told.maybe_paid_nanousd += letter.unknown_estimate_nanousd
            told.changes.update(changes(before, after, self._producer.catalogue))
            model, max_tokens = call_of(after, self._producer.catalogue)
            characters = prompt_characters(after, letter.characters, letter.pages)
            try:
                price = self._prices.price(model, self.database.now())
                told.estimate_nanousd += estimate_nanousd(characters, max_tokens, price)
            except UnknownPrice:
                told.unpriced += 1
        return told

    def replay(self, wanted: LetterFilter, change: Change | None = None, *, per_minute: int | None = None) -> Outcome:
        """Queue the letters' jobs again, or changed ones in their place, `per_minute` of them; None is all at once.

        Nothing waits here: the ledger knows when each may begin. Raises `BadRequest` for an empty filter or a change
        that does not do, before anything is changed.
        """
        wanted, edit = self.as_of_now(wanted), self.edit(change or Change())
        if edit != Edit():
            for _ in self._wishes(wanted, edit):  # a change that one cannot take is told before the first is made
                pass
        begun, done, placed = self.database.now(), Outcome(), 0
        last_turns: dict[tuple[str, int], int] = {}
        try:
            for chunk in read_letters(self.database, wanted):
                moments = [_moment(begun, placed + n, per_minute) for n in range(len(chunk))]
                placed += len(chunk)
                moved = self._move(wanted.state, chunk, moments, edit, last_turns)
                for one in moved:
                    last_turns[one.place] = max(one.turn, last_turns.get(one.place, 0))
                _count(done, chunk, moved)
        finally:
            self._ring({lane for lane, _ in last_turns})
        return done

    def discard(self, wanted: LetterFilter) -> int:
        """Give the letters up for good, and say how many: they keep their history, and what they cost."""
        return discard_letters(self.database, self.as_of_now(wanted))

    def edit(self, change: Change) -> Edit:
        """The change as the rules know it. Raises `BadRequest` for a recipe or model there is not."""
        recipes, models = self._producer.recipes, self._producer.catalogue.models
        if change.recipe is not None and change.recipe not in recipes:
            raise BadRequest(f"no recipe {change.recipe!r}: choose one of {', '.join(sorted(recipes))}")
        if change.model is not None and change.model not in models:
            raise BadRequest(f"no model {change.model!r}: choose one of {', '.join(models)}")
        return Edit(
            model=change.model,
            max_tokens=change.max_tokens,
            recipe=recipes[change.recipe] if change.recipe else None,
            values=change.values,
            complexity=change.complexity,
        )

    def _wishes(self, wanted: LetterFilter, edit: Edit) -> Iterator[tuple[Letter, Asked, Asked]]:
        """Each letter with what it asked, and what it is to ask."""
        for chunk in read_letters(self.database, wanted):
            for letter in chunk:
                before = _asked(letter)
                yield letter, before, _edited(letter, before, edit)

    def _move(
        self,
        state: JobState,
        chunk: Sequence[Letter],
        moments: Sequence[datetime | None],
        edit: Edit,
        last_turns: Mapping[tuple[str, int], int],
    ) -> list[Replayed]:
        again: list[Again] = []
        anew: list[Anew] = []
        for letter, not_before in zip(chunk, moments, strict=True):
            before = _asked(letter)
            after = _edited(letter, before, edit)
            if after == before:
                again.append(Again(letter, not_before))
            else:
                lanes = self._producer.catalogue.lanes
                lane = lanes[after.complexity].queue if after.complexity is not letter.complexity else letter.lane
                anew.append(Anew(letter, after, lane, not_before))
        moved = replay_letters(self.database, state, again, last_turns=last_turns) if again else []
        return moved + (replace_letters(self.database, state, anew, last_turns=last_turns) if anew else [])

    def _ring(self, lanes: Collection[str]) -> None:
        """Best effort: the sweeper rings too, and a broker that is away has nobody who could run the jobs."""
        try:
            with channel_of(self._producer.broker) as channel:
                Bell(channel.store.client, channel.keys).ring(lanes)
        except (OperationalError, RedisError):
            log.warning("feeder.unheard", lanes=sorted(lanes))


def _asked(letter: Letter) -> Asked:
    return Asked(letter.recipe, letter.values, letter.complexity, letter.model)


def _edited(letter: Letter, before: Asked, edit: Edit) -> Asked:
    try:
        return edited(before, edit)
    except BadEdit as error:
        raise BadRequest(f"job {letter.id}: {error}") from None


def _moment(begun: datetime, place: int, per_minute: int | None) -> datetime | None:
    """From when on the letter in this place may run; None is in its turn."""
    return begun + timedelta(minutes=place / per_minute) if per_minute else None


def _count(done: Outcome, chunk: Sequence[Letter], moved: Sequence[Replayed]) -> None:
    done.again += sum(one.job_id == one.letter_id for one in moved)
    done.created += sum(one.created for one in moved)
    done.linked += sum(one.job_id != one.letter_id and not one.created for one in moved)
    done.overtaken += len(chunk) - len(moved)
