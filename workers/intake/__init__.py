"""From what a person names on the command line to documents that Claude can be asked about.

`find` says which documents there are, `read_many` reads them, in order. What cannot be read is a value in the stream,
so that one bad file never stops the others. Storing and submitting them is `workers.producer`'s.

A new kind of file is a module beside `pdf` and a row in `kinds`.
"""

from workers.intake.document import MAX_BYTES, Empty, ReadDocument, Skipped, Unreadable, shown
from workers.intake.pipeline import Taken, read, read_many
from workers.intake.source import Source
from workers.intake.sources import BadSource, find

__all__ = [
    "MAX_BYTES",
    "BadSource",
    "Empty",
    "ReadDocument",
    "Skipped",
    "Source",
    "Taken",
    "Unreadable",
    "find",
    "read",
    "read_many",
    "shown",
]
