"""Documents on their way into the ledger: `docmill submit`, and the first half of `docmill run`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Self

from scripts.commands.shared import terminal
from scripts.commands.shared.estimating import counting, is_confirmed, print_estimate, time_of
from scripts.commands.shared.mistakes import one_line
from scripts.commands.shared.progress import display, documents
from tasks.rules.estimating import Estimate

if TYPE_CHECKING:
    from workers.intake import Unreadable
    from workers.producer import Producer, Receipt, Wish

MOST_NOTES = 10
"""Documents left out that are told one by one; the rest are counted."""
LONGEST_SOURCE = 200
"""Characters. A shell may have made thousands of names of one `*`."""


class Submitting:
    """One submission, checked when it is made and begun by `submit`. Enter it to use it."""

    def __init__(self, args: argparse.Namespace, wish: Wish, producer: Producer) -> None:
        """Raises `BadSource` and `BadRequest` for what can be told before anything is stored."""
        # Here, so that `docmill run --help` need not load what reads documents.
        from scripts.commands.shared.rereading import Documents

        producer.check(wish)
        self._args = args
        self._documents = Documents(args.paths, args.jsonl)
        self._source = _shortened(", ".join([*args.paths, *args.jsonl]))
        self._wish = wish
        self._producer = producer
        self.so_far: Receipt | None = None
        """What is stored already; None before the first documents are."""
        self._complete = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._documents.__exit__()

    def tell_estimate(self, *, offline: bool = False) -> int:
        """Read everything and print what it is likely to cost. 1 when documents could not be read."""
        receipt = self._estimate(offline=offline)
        _tell_left_out(receipt)
        print_estimate(self._args, receipt, time_of(receipt.estimate or Estimate(), self._producer))
        return 1 if receipt.unreadable else 0

    def is_confirmed(self) -> bool:
        """Whether to submit. Asks where money is to be paid, and more than the bound that is set."""
        if self._args.yes or self._producer.settings.simulated:
            return True
        receipt = self._estimate()
        return is_confirmed(self._producer.settings, receipt.estimate or Estimate())

    def _estimate(self, *, offline: bool = False) -> Receipt:
        with display("reading") as shown, counting(self._producer.settings) as count:

            def progress(receipt: Receipt) -> None:
                if receipt.estimate is not None:
                    shown.show(receipt.estimate.documents + receipt.estimate.known, None, "")

            return self._producer.estimate_documents(
                self._documents.look(), self._wish, count=None if offline else count, progress=progress
            )

    def submit(self) -> Receipt:
        """Read and store everything, with progress and notes on stderr."""
        with display("reading") as shown:

            def progress(receipt: Receipt) -> None:
                self.so_far = receipt
                shown.show(receipt.items, None, "")

            receipt = self._producer.submit_documents(
                self._documents.read(),
                self._wish,
                source=self._source,
                hard_nanousd=self._args.budget,
                progress=progress,
            )
            self.so_far, self._complete = receipt, True
        _tell_left_out(receipt)
        _tell_known(receipt)
        return receipt

    def tell_incomplete(self) -> None:
        """Say so where an interruption came before the last document was submitted, and how to go on."""
        if self.so_far is not None and not self._complete:
            terminal.note(
                f"only {documents(self.so_far.items)} submitted, as {self.so_far.submission_id}; "
                "the same command again submits the rest"
            )


def receipt_fields(receipt: Receipt) -> dict[str, Any]:
    """The receipt for a program."""
    return {
        "submission_id": receipt.submission_id,
        "documents": receipt.items,
        "accepted": receipt.accepted,
        "known_states": {state.value: count for state, count in receipt.known.items()},
        "estimate": receipt.estimate.fields() if receipt.estimate is not None else None,
        "unreadable": [_left_out(one) for one in receipt.unreadable],
        "skipped": [_left_out(one) for one in receipt.skipped],
    }


def _left_out(one: Unreadable) -> dict[str, str]:
    return {"name": one.name, "reason": one.reason}


def _tell_left_out(receipt: Receipt) -> None:
    for word, style, left_out in (("skipped", "dim", receipt.skipped), ("unreadable", "red", receipt.unreadable)):
        for one in left_out[:MOST_NOTES]:
            terminal.note(f"{word}: {one_line(str(one))}", style)
        if len(left_out) > MOST_NOTES:
            terminal.note(f"{word}: {len(left_out) - MOST_NOTES:,} more", style)


def _tell_known(receipt: Receipt) -> None:
    if receipt.known:
        states = ", ".join(f"{count:,} {state.value}" for state, count in sorted(receipt.known.items()))
        terminal.note(
            f"submitted before, so not run or paid for again: {states} (--again runs them anew)",
            "dim",
        )


def _shortened(source: str) -> str:
    return source if len(source) <= LONGEST_SOURCE else source[: LONGEST_SOURCE - 1] + "…"
