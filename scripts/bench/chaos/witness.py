"""Whether the promises were kept: the far side's bill first, and then our tables against it.

Pure: takes rows, gives a `Finding`. A document is known in both by its name.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.model.call import CallState
from tasks.model.job import ENDED, JobState

BEFORE_S = 0.5
"""An answer that the far side wrote so shortly before its worker died may not have been read by it."""
AFTER_S = 2.0
"""How long after its reader's death an answer may still be written."""
NOTICED_AFTER_S = 10.0
"""How long after a death the far side, on a busy machine, may take to notice that nobody is there."""


@dataclass(frozen=True, slots=True)
class Death:
    """A worker stopped reading at `since` and was gone for good at `at` (unix seconds)."""

    since: float
    at: float

    def explains(self, row: Mapping[str, Any]) -> bool:
        """Whether the answer of this row of the bill may not have reached a living worker."""
        ended: float = row["at"] + row["ms"] / 1000
        after_s = NOTICED_AFTER_S if row["outcome"] == "client_gone" else AFTER_S
        return row["at"] <= self.at and self.since - BEFORE_S <= ended <= self.at + after_s


@dataclass(frozen=True, slots=True)
class OurCall:
    """A call as our ledger tells it."""

    state: CallState
    request_id: str | None
    cost_nanousd: int | None


@dataclass(frozen=True, slots=True)
class OurJob:
    """A document as our ledger tells it."""

    document: str
    state: JobState
    calls: Sequence[OurCall]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a scenario came to. Names are documents'."""

    states: Mapping[JobState, int]
    lost: Sequence[str]
    """Submitted, and without an outcome."""
    repeated: Sequence[str]
    """Charged again after a charged call that a death cut in flight: allowed where crashed calls are retried."""
    paid_twice: Sequence[str]
    """Charged again for any other reason."""
    dropped: Sequence[str]
    """Charged and delivered to a worker that lived on, and yet our ledger does not have the answer."""
    silent: Sequence[str]
    """Charged, and when the job had ended no call in our ledger said that it may have been."""
    money_off_nanousd: int
    """Our known calls' cost less what the bill says for the same requests."""

    @property
    def broken(self) -> list[str]:
        """The promises that were not kept, a line each."""
        kinds = {
            "lost": self.lost,
            "paid twice": self.paid_twice,
            "answers dropped": self.dropped,
            "charged in silence": self.silent,
        }
        lines = [f"{kind}: {_some(names)}" for kind, names in kinds.items() if names]
        if self.money_off_nanousd:
            lines.append(f"money: the ledger is {self.money_off_nanousd:+,} nano-dollars off the bill")
        return lines


def judge(
    submitted: Iterable[str],
    jobs: Iterable[OurJob],
    bill: Sequence[Mapping[str, Any]],
    deaths: Sequence[Death],
    *,
    may_repeat: bool,
) -> Finding:
    """Compare. `may_repeat` is the policy that sends a call again which a death cut in flight."""
    ours = {job.document: job for job in jobs}
    charged: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in bill:
        if row["charged"]:
            charged[row["document"]].append(row)
    kept = {call.request_id: call for job in ours.values() for call in job.calls if call.state is CallState.ANSWERED}
    lost = [name for name in submitted if name not in ours or ours[name].state not in ENDED]
    repeated: list[str] = []
    paid_twice: list[str] = []
    dropped: list[str] = []
    silent: list[str] = []
    for document, rows in charged.items():
        cut = [row["request_id"] not in kept and any(death.explains(row) for death in deaths) for row in rows]
        if len(rows) > 1:
            allowed = may_repeat and all(cut[:-1])
            (repeated if allowed else paid_twice).append(document)
        if any(row["outcome"] == "delivered" and row["request_id"] not in kept for row in _less(rows, cut)):
            dropped.append(document)
        unmatched = sum(row["request_id"] not in kept for row in rows)
        if document not in lost and unmatched > _unknown(ours[document]):
            silent.append(document)
    known_costs = sum(call.cost_nanousd or 0 for call in kept.values())
    their_costs = sum(row["nanousd"] for rows in charged.values() for row in rows if row["request_id"] in kept)
    return Finding(
        states=Counter(job.state for job in ours.values()),
        lost=lost,
        repeated=repeated,
        paid_twice=paid_twice,
        dropped=dropped,
        silent=silent,
        money_off_nanousd=known_costs - their_costs,
    )


def _less(rows: Sequence[Mapping[str, Any]], cut: Sequence[bool]) -> list[Mapping[str, Any]]:
    return [row for row, was_cut in zip(rows, cut, strict=True) if not was_cut]


def _unknown(job: OurJob) -> int:
    return sum(call.state is CallState.UNKNOWN for call in job.calls)


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)} ({', '.join(names[:most])}{more})"
