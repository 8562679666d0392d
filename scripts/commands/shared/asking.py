"""Asking the person at the terminal before something that cannot be taken back."""

from __future__ import annotations

import sys

from scripts.commands.shared.mistakes import Mistake


def asked(question: str) -> bool:
    """Whether the person at the terminal says yes. Raises `Mistake` where there is none."""
    if not sys.stdin.isatty():
        raise Mistake(f"{question} Nobody is here to ask: say --yes to do it, or --dry-run to see what it would do")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
