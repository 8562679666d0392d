"""`docmill uncertain`: jobs whose worker was gone between request and answer. A replay may pay for it twice."""

from __future__ import annotations

import argparse

from scripts.commands.shared.letters import verbs
from scripts.commands.shared.letters.which import Kind
from tasks.model.job import JobState

KIND = Kind(
    JobState.UNCERTAIN,
    "uncertain job",
    warning="Claude may have answered and billed these already, so a replay may pay a second time",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    verbs.configure(parser, KIND)
    parser.epilog = """Their worker was lost after the request had gone out and before the answer was on disk.
DOCMILL_ON_CRASH=retry has such jobs run again by themselves.

examples:
  docmill uncertain
  docmill uncertain replay --all --dry-run
  docmill uncertain discard JOB"""


def run(args: argparse.Namespace) -> int:
    """Do what the verb says."""
    return verbs.run(args, KIND)
