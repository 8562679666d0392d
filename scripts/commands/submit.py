"""`docmill submit`: hand documents to a running stack, and leave."""

from __future__ import annotations

import argparse

from config.settings import load_settings
from scripts.commands.shared import terminal
from scripts.commands.shared.options import add_confirming, add_documents, add_json, wish_of
from scripts.commands.shared.progress import documents
from scripts.commands.shared.settings import check_broker
from scripts.commands.shared.submitting import Submitting, receipt_fields


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_documents(parser)
    add_confirming(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Submit. 1 when documents could not be read, or the person who was asked said no."""
    from workers.producer import Producer

    settings = load_settings()
    wish = wish_of(args)
    if not args.dry_run:
        check_broker(settings)
    with Producer.open(settings) as producer, Submitting(args, wish, producer) as submitting:
        if args.dry_run:
            return submitting.tell_estimate()
        if not submitting.is_confirmed():
            return 1
        try:
            receipt = submitting.submit()
        except BaseException:
            submitting.tell_incomplete()
            raise
    if args.json:
        terminal.print_json(receipt_fields(receipt))
    else:
        terminal.out().print(f"{documents(receipt.items)} submitted as {receipt.submission_id}")
        terminal.note(f"follow it: docmill watch {receipt.submission_id}", "dim")
    return 1 if receipt.unreadable else 0
