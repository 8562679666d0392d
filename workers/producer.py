"""Submitting documents, and reading their results: the part of docmill that other programs call.

    from workers.producer import Producer, Wish

    with Producer.open() as docmill:
        receipt = docmill.submit(["letters/"], Wish(recipe="summarize"))
        for result in docmill.results(receipt.submission_id):
            print(result.name, result.state, result.output)

A job is committed to the ledger before its message is published, so a submitter that dies loses nothing. The first few
of a lane in which nothing waits are published here; the rest waits in the ledger for its turn, see `workers.feeder`.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Self, TypeVar

from config.catalogue import load_catalogue
from config.prices import load_prices
from config.recipe import Recipe, load_recipes
from config.settings import Settings, load_settings
from tasks.model.budget import Scope
from tasks.model.job import JobState, Message
from tasks.rules.days import day_of
from tasks.rules.estimating import Estimate
from workers.app import make_app
from workers.estimating import Count, Estimator, Past, read_past
from workers.expectations import whose_calls
from workers.feeder import publish_first
from workers.intake import Skipped, Taken, Unreadable, find, read_many
from workers.ledger import (
    OBEYED_AFTER_S,
    Database,
    NewItem,
    Result,
    add,
    begin_submission,
    cancel_jobs,
    cancel_submission,
    keep_estimate,
    known_keys,
    open_database,
    results,
    set_budget,
)
from workers.pool import AsyncioCelery
from workers.wishes import BadRequest, Wish, check, new_item

__all__ = ["BadRequest", "Producer", "Receipt", "Wish"]

CHUNK = 500
"""Documents of one transaction and one publication."""
CHUNK_BYTES = 32 * 1024 * 1024
"""A chunk ends early once its documents hold so much: this bounds the memory of a submitter."""
PAST_KEPT = timedelta(minutes=1)
NO_SUBMISSION = "-"
"""Stands for the id of a submission that is only estimated."""

T = TypeVar("T")


@dataclass(slots=True)
class Receipt:
    """What became of a submission's documents."""

    submission_id: str
    accepted: int = 0
    """New jobs."""
    known: Counter[JobState] = field(default_factory=Counter)
    """Documents that already had a job with the same wish, by its state: not run again."""
    unreadable: list[Unreadable] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    """Left out on purpose, each with its reason."""
    estimate: Estimate | None = None
    """What the new jobs are likely to cost; None before the last document is submitted."""

    @property
    def items(self) -> int:
        """Documents that have a job, new or known."""
        return self.accepted + self.known.total()


class Producer:
    """Submits to the ledger and the broker, and reads results. One for a process; not for several threads at once."""

    def __init__(self, settings: Settings, database: Database, broker: AsyncioCelery) -> None:
        """Made by `open`. Raises `BadConfig`."""
        self.settings = settings
        self.database = database
        self.broker = broker
        self.catalogue = load_catalogue(settings.home)
        self.recipes = load_recipes(settings.home)
        self.prices = load_prices(settings.home)
        self._past: tuple[Past, datetime] | None = None
        self._closing = ExitStack()

    @classmethod
    def open(cls, settings: Settings | None = None) -> Self:
        """Open the ledger. Raises `BadConfig` or `LedgerError`."""
        settings = settings or load_settings()
        with ExitStack() as opened:
            database = opened.enter_context(open_database(settings.ledger_url))
            broker = make_app(lambda: settings)
            opened.callback(broker.close)
            producer = cls(settings, database, broker)
            producer._closing = opened.pop_all()
        return producer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def submit(self, names: Sequence[str], wish: Wish | None = None) -> Receipt:
        """Submit files, folders, globs or JSONL files by name.

        Raises `BadSource` or `BadRequest` before anything is stored, `BrokerRefused` when the broker takes nothing.
        """
        return self.submit_documents(read_many(find(names)), wish or Wish(), source=", ".join(names))

    def submit_documents(
        self,
        documents: Iterable[Taken | Unreadable],
        wish: Wish,
        *,
        source: str = "",
        hard_nanousd: int | None = None,
        progress: Callable[[Receipt], None] = lambda _: None,
    ) -> Receipt:
        """Submit documents as they are read, in chunks; memory stays flat. `progress` is called after each chunk.

        `hard_nanousd` is a hard budget for the new jobs: it takes a second until no worker would go beyond it.
        """
        self.check(wish)
        submission_id = begin_submission(
            self.database, recipe=wish.recipe, label=wish.label, again=wish.again, source=source
        )
        if hard_nanousd is not None:
            self._allow(submission_id, hard_nanousd)
        receipt = Receipt(submission_id)
        last_turns: dict[tuple[str, int], int] = {}
        estimator = Estimator(self.catalogue, self.prices, self.past().learned)
        for items in self._items(documents, wish, receipt):
            self._store_and_publish(items, receipt, last_turns, estimator)
            progress(receipt)
        receipt.estimate = estimator.estimate()
        keep_estimate(self.database, submission_id, receipt.estimate.fields())
        return receipt

    def _allow(self, submission_id: str, hard_nanousd: int) -> None:
        set_budget(
            self.database,
            Scope.SUBMISSION,
            submission_id,
            hard_nanousd=hard_nanousd,
            soft_nanousd=None,
            day=day_of(self.database.now(), self.settings.time_zone),
            set_by="its submitter",
        )
        time.sleep(OBEYED_AFTER_S)

    def estimate_documents(
        self,
        documents: Iterable[Taken | Unreadable],
        wish: Wish,
        *,
        count: Count | None = None,
        progress: Callable[[Receipt], None] = lambda _: None,
    ) -> Receipt:
        """What submitting these would come to: a receipt without a submission. Nothing is stored or published.

        `count` tells the tokens of prompts near a boundary. What was submitted before has no state in this receipt.
        """
        self.check(wish)
        estimator = Estimator(self.catalogue, self.prices, self.past().learned, count)
        receipt = Receipt(NO_SUBMISSION, estimate=estimator.estimate())
        met: set[int] = set()
        for items in self._items(documents, wish, receipt):
            known = known_keys(self.database, [item.key for item in items])
            for item in items:
                key = int(item.key[:16], 16)  # 64 bits of it: there may be a million
                if item.key in known or key in met:
                    estimator.known()
                else:
                    met.add(key)
                    estimator.add(item)
            receipt.estimate = estimator.estimate()
            progress(receipt)
        return receipt

    def past(self) -> Past:
        """What the ledger's newest calls tell, as of a minute ago at most. Raises `LedgerError`."""
        now = self.database.now()
        if self._past is None or now - self._past[1] > PAST_KEPT:
            self._past = read_past(self.database, synthetic=whose_calls(self.settings)), now
        return self._past[0]

    def results(self, submission_id: str) -> Iterator[Result]:
        """The submission's documents in their order, each with its job's state and output so far."""
        return results(self.database, submission_id)

    def cancel(self, job_ids: Sequence[str]) -> tuple[str, ...]:
        """Cancel jobs that have not ended, those that run included; the ids of those that were.

        A call under way is given up, and booked as one whose cost is unknown.
        """
        cancelled = cancel_jobs(self.database, job_ids)
        self.revoke(cancelled.message_ids)
        return cancelled.job_ids

    def cancel_submission(self, submission_id: str) -> tuple[str, ...]:
        """Cancel what a submission waits for, and no other; the ids of the cancelled jobs."""
        cancelled = cancel_submission(self.database, submission_id)
        self.revoke(cancelled.message_ids)
        return cancelled.job_ids

    def revoke(self, message_ids: Sequence[str]) -> None:
        """Have all workers give up the jobs that came by these messages."""
        for some in _chunks(message_ids, CHUNK):
            self.broker.control.revoke(some, terminate=True)

    def check(self, wish: Wish) -> Recipe:
        """The wish's recipe. Raises `BadRequest` for a recipe, parameter or model there is not."""
        return check(wish, self.recipes, self.catalogue)

    def _items(self, documents: Iterable[Taken | Unreadable], wish: Wish, receipt: Receipt) -> Iterator[list[NewItem]]:
        """The documents with what is asked of them, a chunk at a time; the receipt gets what is left out."""
        salt = receipt.submission_id if wish.again else ""
        position = 0
        for chunk in _portions(documents):
            items = []
            for document in chunk:
                try:
                    items.append(new_item(document, wish, self.recipes, self.catalogue, position=position, salt=salt))
                except Skipped as note:
                    receipt.skipped.append(note)
                except Unreadable as fault:
                    receipt.unreadable.append(fault)
                else:
                    position += 1
            yield items

    def _store_and_publish(
        self, items: Sequence[NewItem], receipt: Receipt, last_turns: dict[tuple[str, int], int], estimator: Estimator
    ) -> None:
        added = add(self.database, receipt.submission_id, items, last_turns=last_turns)
        for item, one in zip(items, added, strict=True):
            if one.created:
                estimator.add(item)
                receipt.accepted += 1
                last_turns[one.place] = max(one.turn, last_turns.get(one.place, 0))
            else:
                estimator.known()
                receipt.known[one.state] += 1
        waiting: defaultdict[str, dict[str, Message]] = defaultdict(dict)  # by id: a document may be there twice
        for one in added:
            if one.state is JobState.QUEUED and not one.published:
                waiting[one.lane][one.job_id] = Message(one.job_id, one.generation, one.lane, priority=one.priority)
        if waiting:
            lines = {lane: list(messages.values()) for lane, messages in waiting.items()}
            publish_first(self.broker, self.database, lines)


def _portions(documents: Iterable[Taken | Unreadable]) -> Iterator[list[Taken | Unreadable]]:
    portion: list[Taken | Unreadable] = []
    size_bytes = 0
    for document in documents:
        portion.append(document)
        size_bytes += 0 if isinstance(document, Unreadable) else len(document.document.content)
        if len(portion) == CHUNK or size_bytes >= CHUNK_BYTES:
            yield portion
            portion, size_bytes = [], 0
    if portion:
        yield portion


def _chunks(values: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(values)
    while chunk := list(islice(rest, size)):
        yield chunk
