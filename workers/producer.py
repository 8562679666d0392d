"""Submitting documents, and reading their results: the part of docmill that other programs call.

    from workers.producer import Producer, Wish

    with Producer.open() as docmill:
        receipt = docmill.submit(["letters/"], Wish(recipe="summarize"))
        for result in docmill.results(receipt.submission_id):
            print(result.name, result.state, result.output)

A job is committed to the ledger before its message is published, so a submitter that dies loses nothing: submitting
the same documents again publishes what it left behind, and runs nothing twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Self, TypeVar

from config.catalogue import Catalogue, Complexity, load_catalogue
from config.recipe import Recipe, load_recipes
from config.settings import Settings, load_settings
from tasks.document import TASK_NAME
from tasks.model.job import JobState
from workers.app import make_app
from workers.intake import ReadDocument, Skipped, Taken, Unreadable, find, read_many
from workers.ledger import (
    Added,
    Database,
    NewDocument,
    NewItem,
    Published,
    Result,
    add,
    begin_submission,
    cancel_jobs,
    cancel_submission,
    job_key,
    mark_published,
    open_database,
    results,
)
from workers.pool import AsyncioCelery
from workers.transport import Outgoing, publish_many

CHUNK = 500
"""Documents of one transaction and one publication."""
CHUNK_BYTES = 32 * 1024 * 1024
"""A chunk ends early once its documents hold so much: this bounds the memory of a submitter."""

T = TypeVar("T")


class BadRequest(ValueError):
    """A submission that cannot be: the message names the thing, the value and the way out."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a submitter asks of every document, unless the document's own line says otherwise."""

    recipe: str = "summarize"
    complexity: Complexity | None = None
    """None leaves it to the recipe."""
    model: str | None = None
    """None leaves it to the complexity."""
    values: Mapping[str, str] = field(default_factory=dict)
    """For the recipe's parameters, such as `question`."""
    again: bool = False
    """Run, and pay for, documents that were submitted before."""
    label: str = ""


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

    @property
    def items(self) -> int:
        """Documents that have a job, new or known."""
        return self.accepted + self.known.total()


class Producer:
    """Submits to the ledger and the broker, and reads results. One for a process; not for several threads at once."""

    def __init__(
        self, database: Database, broker: AsyncioCelery, catalogue: Catalogue, recipes: Mapping[str, Recipe]
    ) -> None:
        self.database = database
        self.broker = broker
        self.catalogue = catalogue
        self.recipes = recipes
        self._closing = ExitStack()

    @classmethod
    def open(cls, settings: Settings | None = None) -> Self:
        """Open the ledger. Raises `BadConfig` or `LedgerError`."""
        settings = settings or load_settings()
        catalogue, recipes = load_catalogue(settings.home), load_recipes(settings.home)
        database = open_database(settings.ledger_url)
        broker = make_app(lambda: settings)
        producer = cls(database, broker, catalogue, recipes)
        producer._closing.callback(database.close)
        producer._closing.callback(broker.close)
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
        progress: Callable[[Receipt], None] = lambda _: None,
    ) -> Receipt:
        """Submit documents as they are read, in chunks; memory stays flat. `progress` is called after each chunk."""
        self.check(wish)
        submission_id = begin_submission(
            self.database, recipe=wish.recipe, label=wish.label, again=wish.again, source=source
        )
        receipt = Receipt(submission_id)
        position = 0
        for chunk in _portions(documents):
            items = []
            for document in chunk:
                try:
                    items.append(self._item(document, wish, submission_id, position))
                except Skipped as note:
                    receipt.skipped.append(note)
                except Unreadable as fault:
                    receipt.unreadable.append(fault)
                else:
                    position += 1
            self._store_and_publish(items, receipt)
            progress(receipt)
        return receipt

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
        """Cancel what a submission started and has not ended; the ids of the cancelled jobs."""
        cancelled = cancel_submission(self.database, submission_id)
        self.revoke(cancelled.message_ids)
        return cancelled.job_ids

    def revoke(self, message_ids: Sequence[str]) -> None:
        """Have all workers give up the jobs that came by these messages."""
        for some in _chunks(message_ids, CHUNK):
            self.broker.control.revoke(some, terminate=True)

    def check(self, wish: Wish) -> Recipe:
        """The wish's recipe. Raises `BadRequest` for a recipe, parameter or model there is not."""
        recipe = self.recipes.get(wish.recipe)
        if recipe is None:
            raise BadRequest(f"no recipe {wish.recipe!r}: choose one of {', '.join(sorted(self.recipes))}")
        for name in sorted(recipe.parameters - wish.values.keys()):
            raise BadRequest(f"recipe {recipe.name!r} needs a {name}: give --set {name}='...'")
        for name in sorted(wish.values.keys() - recipe.parameters):
            raise BadRequest(f"recipe {recipe.name!r} takes no {name!r}: it takes {_listed(recipe.parameters)}")
        if wish.model is not None and wish.model not in self.catalogue.models:
            raise BadRequest(f"no model {wish.model!r}: choose one of {', '.join(self.catalogue.models)}")
        return recipe

    def _item(self, taken: Taken | Unreadable, wish: Wish, submission_id: str, position: int) -> NewItem:
        if isinstance(taken, Unreadable):
            raise taken
        source, document = taken
        own = replace(
            wish,
            recipe=source.recipe or wish.recipe,
            complexity=source.complexity or wish.complexity,
            values={**wish.values, **source.values},
        )
        try:
            recipe = self.check(own)
        except BadRequest as error:
            raise Unreadable(source.name, str(error)) from None
        complexity = own.complexity or recipe.complexity
        return NewItem(
            position=position,
            name=source.name,
            key=job_key(
                document.hash,
                recipe.hash,
                values=own.values,
                complexity=complexity,
                model=own.model,
                salt=submission_id if wish.again else "",
            ),
            document=NewDocument(
                hash=document.hash,
                media_type=document.media_type,
                content=document.content,
                text=None if _is_plain(document) else document.text,
                pages=document.pages,
            ),
            recipe=recipe,
            values=own.values,
            complexity=complexity,
            lane=self.catalogue.lanes[complexity].queue,
            model=own.model,
            metadata=source.metadata,
        )

    def _store_and_publish(self, items: Sequence[NewItem], receipt: Receipt) -> None:
        added = add(self.database, receipt.submission_id, items)
        for one in added:
            if one.created:
                receipt.accepted += 1
            else:
                receipt.known[one.state] += 1
        self._publish([one for one in added if one.created or (one.state is JobState.QUEUED and not one.published)])

    def _publish(self, jobs: Sequence[Added]) -> None:
        messages = publish_many(
            self.broker,
            [Outgoing(TASK_NAME, (job.job_id, job.generation), job.lane, task_id=message_id(job)) for job in jobs],
        )
        mark_published(
            self.database,
            [Published(job.job_id, job.generation, message) for job, message in zip(jobs, messages, strict=True)],
        )


def message_id(job: Added) -> str:
    """The Celery task id of a job's message: a replay has its own, so that an old revoke does not meet it."""
    return f"{job.job_id}.{job.generation}"


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


def _is_plain(document: ReadDocument) -> bool:
    """Whether the text is the bytes as UTF-8, so that storing both would store it twice."""
    return document.text is not None and document.text.encode() == document.content


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
