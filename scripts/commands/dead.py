"""`docmill dead`: dead letters. Listed by what went wrong; replayed, as they are or changed; discarded."""

from __future__ import annotations

import argparse

from scripts.commands.shared.letters import verbs
from scripts.commands.shared.letters.which import Kind
from tasks.model.job import JobState

KIND = Kind(JobState.DEAD, "dead letter")


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    verbs.configure(parser, KIND)
    parser.epilog = """examples:
  docmill dead                                            by fingerprint and lane
  docmill dead show JOB                                   every attempt, its fault and its cost
  docmill dead replay --fault Truncated --max-tokens 4000 --dry-run
  docmill dead replay --fingerprint 3fa1 --to-complexity high --per-minute 100
  docmill dead discard --submission latest --older 7d"""


def run(args: argparse.Namespace) -> int:
    """Do what the verb says."""
    return verbs.run(args, KIND)
