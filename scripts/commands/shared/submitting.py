"""Documents on their way into the ledger: `docmill submit`, and the first half of `docmill run`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from scripts.commands.shared import terminal
from scripts.commands.shared.mistakes import one_line
from scripts.commands.shared.progress import display, documents

if TYPE_CHECKING:
    from workers.intake import Unreadable
    from workers.producer import Producer, Receipt, Wish

MOST_NOTES = 10
"""Documents left out that are told one by one; the rest are counted."""
LONGEST_SOURCE = 200
"""Characters. A shell may have made thousands of names of one `*`."""


class Submitting:
    """One submission, checked when it is made and begun by `submit`."""

    def __init__(self, args: argparse.Namespace, wish: Wish, producer: Producer) -> None:
        """Raises `BadSource` and `BadRequest` for what can be told before anything is stored."""
        from workers.intake import find  # here, so that `docmill run --help` need not load what reads documents

        producer.check(wish)
        self._found = find(args.paths, jsonl=args.jsonl)
        self._source = _shortened(", ".join([*args.paths, *args.jsonl]))
        self._wish = wish
        self._producer = producer
        self.so_far: Receipt | None = None
        """What is stored already; None before the first documents are."""
        self._complete = False

    def submit(self) -> Receipt:
        """Read and store everything, with progress and notes on stderr."""
        from workers.intake import read_many

        with display("reading") as shown:

            def progress(receipt: Receipt) -> None:
                self.so_far = receipt
                shown.show(receipt.items, None, "")

            receipt = self._producer.submit_documents(
                read_many(self._found), self._wish, source=self._source, progress=progress
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
