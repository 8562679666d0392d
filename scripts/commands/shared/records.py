"""One document's result as a record for a program: a line of `docmill results`, an entry of `docmill run --json`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from scripts.commands.shared.figures import spent_fields
from workers.ledger import Result


def record(result: Result) -> dict[str, Any]:
    """Its fields. `output` is the parsed JSON where the recipe has a schema, and text where it has none."""
    return {
        "name": result.name,
        "job_id": result.job_id,
        "state": result.state.value,
        "output": output(result),
        "fault": result.fault,
        "model": result.model,
        "recipe": result.recipe,
        "complexity": result.complexity,
        "synthetic": result.spent.synthetic_calls > 0,
        **spent_fields(result.spent),
        "attempts": result.attempts,
        "throttles": result.throttles,
        "document_hash": result.document_hash,
        "finished_at": result.finished_at,
        "metadata": result.metadata,
    }


def records(results: Iterable[Result]) -> Iterator[dict[str, Any]]:
    """A record of each."""
    return (record(result) for result in results)


def output(result: Result) -> Any:  # noqa: ANN401 - whatever the recipe's schema allows
    """The answer as a value; None while there is none."""
    if result.output is None or not result.output.startswith(("{", "[")):
        return result.output
    try:
        value = json.loads(result.output)
    except ValueError:
        return result.output
    # A result does not say whether its recipe has a schema; only what passed one is stored in exactly this form.
    return value if json.dumps(value, ensure_ascii=False, separators=(",", ":")) == result.output else result.output
