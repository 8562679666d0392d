"""The spool: paid answers of dead workers that could not be settled."""

from __future__ import annotations

from collections.abc import Iterator

from config.settings import Settings
from scripts.commands.shared.figures import counted
from scripts.commands.shared.health.finding import Finding, Grade
from workers.spool import ASIDE, SUFFIX


def spool(settings: Settings) -> Iterator[Finding]:
    """How many files lie aside, and what brings them back."""
    folder = settings.home / "spool"
    files = sum(1 for _ in folder.glob(f"*{ASIDE}"))
    if not files:
        yield Finding("spool", Grade.OK, "no answer was put aside")
        return
    yield Finding(
        "spool",
        Grade.WARNING,
        f"{counted(files, 'file')} of paid answers that could not be settled: {folder}/*{ASIDE}",
        "replay none of the uncertain jobs yet: mend what the log says of `spool.unsettled`, or for `spool.unreadable` "
        f"start the docmill that wrote them; then rename each to *{SUFFIX}, and a worker settles it",
    )
