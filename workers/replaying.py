"""Replaying and discarding jobs that wait for a person: the part of docmill that other programs call for it.

    from workers.ledger import LetterFilter
    from workers.replaying import Change, DeadLetters

    with DeadLetters.open() as dead:
        wanted = dead.as_of_now(LetterFilter(fault="Truncated", recipe="summarize"))
        change = Change(max_tokens=4_000)
        print(dead.preview(wanted, change))
        print(dead.replay(wanted, change, per_minute=100))

Jobs are queued in the ledger before their messages are published. Whoever stops in between loses nothing: the next
replay publishes what was left behind, and so does the sweeper.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Self

from config.catalogue import Complexity
from config.prices import PriceBook, UnknownPrice, load_prices
from config.settings import Settings, load_settings
from tasks.document import TASK_NAME
from tasks.model.job import JobState
from tasks.rules.pricing import estimate_nanousd
from tasks.rules.replaying import Asked, BadEdit, Edit, call_of, changes, edited, prompt_characters
from workers.ledger import (
    Again,
    Anew,
    Letter,
    LetterFilter,
    Published,
    Replayed,
    discard_letters,
    left_behind,
    mark_published,
    read_letters,
    replace_letters,
    replay_letters,
)
from workers.producer import BadRequest, Producer
from workers.transport import BrokerRefused, Outgoing, publish_many

LEFT_BEHIND_AFTER = timedelta(seconds=5)
"""A replay that has not published for so long has stopped. Were it only slow, a job would get a message too many."""


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
    published: int = 0
    """Messages that the broker took, with those that an earlier replay had left behind."""
    trouble: str = ""
    """Why the broker took no more; the letters after that are untouched."""

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

        The delay is the broker's, so nothing waits here. Raises `BadRequest` for an empty filter or a change that does
        not do, before anything is changed.
        """
        wanted, edit = self.as_of_now(wanted), self.edit(change or Change())
        if edit != Edit():
            for _ in self._wishes(wanted, edit):  # a change that one cannot take is told before the first is made
                pass
        begun, done, placed = self.database.now(), Outcome(), 0
        try:
            done.published += self.publish_left_behind()
            for chunk in read_letters(self.database, wanted):
                moments = [begun + _wait(placed + n, per_minute) for n in range(len(chunk))]
                placed += len(chunk)
                moved = self._move(wanted.state, chunk, moments, edit)
                _count(done, chunk, moved)
                done.published += self._publish([one for one in moved if _unpublished(one)])
        except BrokerRefused as refusal:
            done.trouble = str(refusal)
        return done

    def publish_left_behind(self) -> int:
        """Publish what an earlier replay queued and did not publish, and say how much. Raises `BrokerRefused`."""
        published = 0
        while left := left_behind(self.database, self.database.now() - LEFT_BEHIND_AFTER):
            published += self._publish(left)
        return published

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
        self, state: JobState, chunk: Sequence[Letter], moments: Sequence[datetime], edit: Edit
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
        moved = replay_letters(self.database, state, again) if again else []
        return moved + (replace_letters(self.database, state, anew) if anew else [])

    def _publish(self, jobs: Sequence[Replayed]) -> int:
        now = self.database.now()
        distinct = {job.job_id: job for job in jobs}.values()  # letters with the same wish share a job
        in_order = sorted(distinct, key=lambda job: (job.not_before or now, job.job_id))
        ids = publish_many(
            self._producer.broker,
            [
                Outgoing(
                    TASK_NAME,
                    (job.job_id, job.generation),
                    job.lane,
                    countdown_s=max(0.0, ((job.not_before or now) - now).total_seconds()),
                    task_id=f"{job.job_id}.{job.generation}",
                )
                for job in in_order
            ],
        )
        mark_published(
            self.database,
            [Published(job.job_id, job.generation, id_) for job, id_ in zip(in_order, ids, strict=True)],
        )
        return len(ids)


def _asked(letter: Letter) -> Asked:
    return Asked(letter.recipe, letter.values, letter.complexity, letter.model)


def _edited(letter: Letter, before: Asked, edit: Edit) -> Asked:
    try:
        return edited(before, edit)
    except BadEdit as error:
        raise BadRequest(f"job {letter.id}: {error}") from None


def _wait(place: int, per_minute: int | None) -> timedelta:
    return timedelta(minutes=place / per_minute) if per_minute else timedelta()


def _unpublished(job: Replayed) -> bool:
    return job.state is JobState.QUEUED and not job.published


def _count(done: Outcome, chunk: Sequence[Letter], moved: Sequence[Replayed]) -> None:
    done.again += sum(one.job_id == one.letter_id for one in moved)
    done.created += sum(one.created for one in moved)
    done.linked += sum(one.job_id != one.letter_id and not one.created for one in moved)
    done.overtaken += len(chunk) - len(moved)
