"""A handful of documents with their answers, for a person to read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.text import Text

from scripts.commands.shared import terminal
from scripts.commands.shared.figures import counted
from scripts.commands.shared.records import output
from tasks.model.job import JobState
from workers.ledger import Result

LONGEST_ANSWER = 6
"""Lines. The rest is for `docmill show --answer`."""
STYLES = {
    JobState.DONE: "green",
    **dict.fromkeys((JobState.DEAD, JobState.UNCERTAIN, JobState.CANCELLED), "red"),
}


def print_answers(results: Iterable[Result]) -> None:
    """Each document's name, then its answer, wrapped and shortened, or its fault."""
    out = terminal.out()
    for result in results:
        style = STYLES.get(result.state, "yellow")
        state = "" if result.state is JobState.DONE else f"  {result.state.value}"
        synthetic = "  synthetic" if result.output and result.spent.synthetic_calls else ""
        name = Text.assemble((terminal.printable(result.name), "bold"), (state, style), (synthetic, "yellow"))
        out.print(name, soft_wrap=True)
        body = Text(terminal.printable(_said(result)), style="" if result.output else style)
        lines = body.wrap(out, out.readable_width - 2)
        for line in lines[:LONGEST_ANSWER]:
            line.rstrip()
            out.print(Text.assemble("  ", line), soft_wrap=True)
        if len(lines) > LONGEST_ANSWER:
            more = counted(len(lines) - LONGEST_ANSWER, "more line")
            out.print(f"  … {more}: docmill show {result.job_id} --answer", style="dim", soft_wrap=True)
        out.print()


def _said(result: Result) -> str:
    if result.output is not None:
        value = output(result)
        return "\n".join(_fields(value)) if isinstance(value, dict) else result.output
    return f"{result.fault.kind}: {result.fault.message}" if result.fault else "no answer"


def _fields(value: Mapping[str, Any]) -> Iterable[str]:
    """`topic: winter wheat`, `people: Anna, Bo`; empty ones are left out."""
    for name, said in value.items():
        if isinstance(said, list) and all(isinstance(one, str | int | float) for one in said):
            said = ", ".join(str(one) for one in said)
        elif isinstance(said, list | dict):
            said = terminal.json_text(said, indent=None)
        yield f"{name}: {said}"
