"""Which model a job goes to, and under which limits."""

from __future__ import annotations

from config.catalogue import Catalogue
from tasks.model.call import Route
from tasks.model.fault import TimedOut, TooLong, Truncated, UnknownModel
from tasks.model.job import Job

LONGEST_CALL_S = 600.0
"""No call may last longer; the SDK's own bound for an answer that is not streamed."""
SHORTEST_DEADLINE_S = 30.0
START_UP_S = 15.0
"""Queueing at Claude's side and reading the prompt."""
SLOWEST_TOKENS_PER_S = 40.0
"""Slowest writing that is still taken for writing."""


def choose(job: Job, catalogue: Catalogue, silence_timeout_s: float) -> Route:
    """The route for this job, with its reason.

    After a timeout a call has twice the time, after an answer that was cut off twice the room. Raises `UnknownModel`
    for a model the catalogue does not list, `TooLong` for a PDF of more pages than it takes, `Truncated` where an
    answer was cut off and there is no more room.
    """
    name = wanted_model(job, catalogue)
    reason = "asked for by the submitter" if job.model else f"complexity {job.complexity.value}"
    model = catalogue.models.get(name)
    if model is None:
        raise UnknownModel(f"model {name!r} is not in the catalogue: add it, or choose {', '.join(catalogue.models)}")
    pages = job.document.pages
    if job.document.text is None and pages is not None and pages > model.max_pdf_pages:
        raise TooLong(
            f"document {job.document.name!r}: {pages} pages without a text layer, {name} takes {model.max_pdf_pages}"
        )
    max_tokens = min(job.recipe.max_tokens, model.max_output_tokens)
    if Truncated.__name__ in job.faults:
        if max_tokens == model.max_output_tokens:
            raise Truncated(f"the answer reached {max_tokens:,} tokens, and {name} writes no more")
        max_tokens = min(2 * max_tokens, model.max_output_tokens)
    deadline_s = call_deadline_s(max_tokens) * (2 if TimedOut.__name__ in job.faults else 1)
    return Route(
        model=name,
        max_tokens=max_tokens,
        reason=reason,
        stream=deadline_s > silence_timeout_s,
        deadline_s=deadline_s,
        disable_thinking=model.thinks_by_default,
    )


def wanted_model(job: Job, catalogue: Catalogue) -> str:
    """The model this job goes to, be it listed or not."""
    return job.model or catalogue.routes[job.complexity]


def call_deadline_s(max_tokens: int) -> float:
    """Wall clock for a whole call that may write `max_tokens`: from 30 s to 600 s."""
    writing_s = START_UP_S + max_tokens / SLOWEST_TOKENS_PER_S
    return min(LONGEST_CALL_S, max(SHORTEST_DEADLINE_S, writing_s))
