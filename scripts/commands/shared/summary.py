"""What became of a submission and what it cost: the last lines of `docmill run` and `docmill watch`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from scripts.commands.shared import terminal
from scripts.commands.shared.estimates import compared, estimate_fields
from scripts.commands.shared.figures import cost, span, spent_fields, tokens
from scripts.commands.shared.progress import Standing, told
from tasks.model.job import JobState
from workers.ledger import Database, Result, Summary, summary

SYNTHETIC = "synthetic: the simulator gave them, no model was asked"
NOT_PAID = " at list prices, and nothing was paid"


@dataclass(slots=True)
class Tally:
    """What a summary needs to know of the results one by one, gathered while they stream by."""

    models: Counter[str] = field(default_factory=Counter)
    synthetic: int = 0
    """Documents that the simulator answered, also for an earlier submission."""
    faults: Counter[str] = field(default_factory=Counter)
    examples: dict[str, Result] = field(default_factory=dict)
    """One dead or uncertain document for each kind of fault."""

    def add(self, result: Result) -> None:
        """Count one."""
        if result.model is not None:
            self.models[result.model] += 1
        self.synthetic += result.spent.synthetic_calls > 0
        if result.state in {JobState.DEAD, JobState.UNCERTAIN} and result.fault is not None:
            self.faults[result.fault.kind] += 1
            self.examples.setdefault(result.fault.kind, result)


def tally(results: Iterable[Result]) -> Tally:
    """All of them."""
    counted = Tally()
    for result in results:
        counted.add(result)
    return counted


def read_summary(database: Database, submission_id: str) -> Summary:
    """The summary of a submission that is there."""
    found = summary(database, submission_id)
    if found is None:
        raise LookupError(submission_id)
    return found


def exit_code(found: Summary) -> int:
    """0 when every document is done."""
    return 0 if found.states[JobState.DONE] == sum(found.states.values()) else 1


def summary_fields(found: Summary, seen: Tally) -> dict[str, Any]:
    """The summary for a program. `models` and `synthetic_documents` count documents, known ones included."""
    line = found.submission
    return {
        "submission_id": line.id,
        "synthetic": seen.synthetic > 0,
        "synthetic_documents": seen.synthetic,
        "models": dict(seen.models),
        "recipe": line.recipe,
        "label": line.label,
        "created_at": line.created_at,
        "documents": line.items,
        "known": found.known,
        "states": {state.value: count for state, count in found.states.items()},
        **spent_fields(found.spent),
        **estimate_fields(line.estimate, found.spent),
    }


def print_summary(found: Summary, seen: Tally, wall_s: float | None = None) -> None:
    """Figures, one a line, on stdout."""
    grid = terminal.grid()
    for name, value, style in _lines(found, seen, wall_s):
        grid.add_row(name, terminal.cell(value, style))
    terminal.out().show(grid)


def _lines(found: Summary, seen: Tally, wall_s: float | None) -> Iterator[tuple[str, str, str]]:
    line, spent = found.submission, found.spent
    yield "submission", f"{line.id} ({line.label})" if line.label else line.id, ""
    yield "documents", told(found.states), "red" if exit_code(found) else "green"
    for state, command in ((JobState.DEAD, "dead"), (JobState.UNCERTAIN, "uncertain")):
        if found.states[state]:
            yield command, f"docmill {command} --submission {line.id}", "dim"
    if found.known:
        yield "known", f"{found.known:,} submitted before: not asked, and not paid for, again", ""
    if seen.models:
        yield "model", ", ".join(f"{model}: {count:,}" for model, count in sorted(seen.models.items())), ""
    if spent.calls:
        yield "calls", f"{spent.calls:,}", ""
        yield "tokens", tokens(spent.usage), ""
    yield "cost", f"{cost(spent)}{NOT_PAID if spent.synthetic_calls else ''}", ""
    estimate = compared(line.estimate, spent, finished=Standing(found.states).finished)
    if estimate is not None:
        yield "estimate", estimate, ""
    if seen.synthetic:
        all_of_them = seen.synthetic == line.items
        yield "answers", SYNTHETIC if all_of_them else f"{seen.synthetic:,} of {line.items:,} {SYNTHETIC}", "yellow"
    if wall_s is not None:
        yield "time", span(wall_s), ""
    yield "results", f"docmill results {line.id}", "dim"


def print_faults(tally: Tally) -> None:
    """Why documents are dead: each kind of fault with its number and an example."""
    if not tally.faults:
        return
    shown = terminal.table("dead", "why", "for example", right=["dead"], fold=["for example"])
    for kind, count in tally.faults.most_common():
        example = tally.examples[kind]
        message = example.fault.message if example.fault else ""
        shown.add_row(f"{count:,}", kind, terminal.cell(f"{example.name}: {message}"))
    terminal.out().show(shown)
    terminal.out().print()
