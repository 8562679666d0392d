"""Which faults are the same fault: by kind, status, code, and the message without what differs from job to job.

Kept nowhere: whoever lists dead letters works it out, so a better rule regroups the old ones too.
"""

from __future__ import annotations

import hashlib
import re

DIGITS = 12
"""Of a fingerprint, in hex: short enough to type, and two of a million differ."""
_DIFFERS = re.compile(
    r"""
    (?<!\w)'[^']*'(?!\w) | (?<!\w)"[^"]*"(?!\w)  # names of documents and the like, in quotes
    | \b(?:job|sub|call|req|msg|worker)[-_]\w+   # ids, ours and Claude's
    | \b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b
    | \b(?=[a-f]*\d)[0-9a-f]{8,}\b               # hashes
    | \d+(?:[.,:]\d+)*                           # numbers, moments
    """,
    re.VERBOSE,
)


def pattern(message: str) -> str:
    """The message with every quoted name, id and number as `#`, on one line."""
    return _DIFFERS.sub("#", " ".join(message.split()))


def fingerprint(kind: str | None, status: int | None, code: str | None, message: str | None) -> str:
    """Name of all faults of this sort: 12 hex digits."""
    said = "\n".join((kind or "", str(status or ""), code or "", pattern(message or "")))
    return hashlib.sha256(said.encode()).hexdigest()[:DIGITS]
