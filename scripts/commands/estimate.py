"""`docmill estimate`: what documents are likely to cost, before they are submitted."""

from __future__ import annotations

import argparse

from config.settings import load_settings
from scripts.commands.shared.options import add_documents, add_json, wish_of
from scripts.commands.shared.submitting import Submitting


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_documents(parser)
    parser.add_argument(
        "--offline",
        action="store_true",
        help="do not have Claude count the tokens of prompts near a boundary, which is free",
    )
    add_json(parser)
    parser.epilog = (
        "Nothing is submitted, and nothing is paid. Low and high are what it comes to if every document is one\n"
        "standard deviation off. Claude counts the tokens of up to 100 prompts that are near its window or a price's\n"
        "threshold; the others go by what such calls were billed before, or by a rule of thumb."
    )


def run(args: argparse.Namespace) -> int:
    """Read and add up. 1 when documents could not be read."""
    from workers.producer import Producer

    settings = load_settings()
    wish = wish_of(args)
    with Producer.open(settings) as producer, Submitting(args, wish, producer) as submitting:
        return submitting.tell_estimate(offline=args.offline)
