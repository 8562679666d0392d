"""Why an attempt failed, sorted by what we can do about it.

A fault says what it saw in ids and numbers. It never carries an SDK exception, a key or a document's text, so it may
be logged, pickled and stored.
"""

from __future__ import annotations


class Fault(Exception):
    """Why an attempt failed."""

    possibly_billed = False
    """Whether Claude may have charged for the answer we did not get."""
    put_off = False
    """Whether limits of our own held the job back: nothing was tried, so it costs neither a wait nor time to its
    deadline, however often it happens."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        """Describe the fault.

        Args:
            message: One line with the thing and the number.
            status: HTTP status, None where there was no response.
            code: `error.type` of the API, or its more exact `error_code`.
            request_id: The API's name for the request.
            retry_after_s: How long the server asked us to wait; None when it did not say.
        """
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.status, self.code, self.request_id, self.retry_after_s)

    @property
    def kind(self) -> str:
        """The fault's name in the ledger and in logs."""
        return type(self).__name__


def _rebuild(
    kind: type[Fault],
    message: str,
    status: int | None,
    code: str | None,
    request_id: str | None,
    retry_after_s: float | None,
) -> Fault:
    return kind(message, status=status, code=code, request_id=request_id, retry_after_s=retry_after_s)


class Transient(Fault):
    """Worth another attempt."""


class ServerFailed(Transient):
    """The API failed: 500, 502, 504 and their kind. Not billed."""


class Interrupted(Transient):
    """The answer was cut off, or was no answer, after the request had gone out."""

    possibly_billed = True


class TimedOut(Transient):
    """Silence, or our own deadline, after the request had gone out."""

    possibly_billed = True


class WorkerLost(Transient):
    """Its worker died after the request had gone out, and no answer was kept."""

    possibly_billed = True


class BadOutput(Transient):
    """The answer breaks the recipe's contract. It was paid for."""


class Truncated(Transient):
    """The answer reached max_tokens. It was paid for; the same request would be cut off at the same place."""


class PdfFailed(Transient):
    """The API could not read the PDF. It often can the second time."""


class Throttled(Fault):
    """We are told to wait: nobody's attempt."""


class RateLimited(Throttled):
    """429: over the requests or tokens per minute."""


class NoRoom(Throttled):
    """Our own limiter: its turn in the fleet's rate limits is too far off to wait for it in a worker's slot."""

    put_off = True


class Overloaded(Throttled):
    """529 or 503: too much for the API just now."""


class Unreachable(Throttled):
    """No connection: the API never saw the request."""


class PoolFull(Throttled):
    """None of our own connections was free: not the API's failure, which never saw the request."""


class Blocked(Fault):
    """Nothing in the job's power: a person or a date must come first. Nobody's attempt."""


class SpendCap(Blocked):
    """The organization's spending limit is reached."""


class BillingStopped(Blocked):
    """402, or no prepaid credit."""


class OverBudget(Blocked):
    """A hard budget of ours has no room for the call.

    `code` is the budget's scope: `day`, `recipe`, `submission`; `call` where there is room, but not for this one.
    """

    day = ""
    """That the budget is of; empty for a submission's."""

    put_off = True


class Unauthorized(Blocked):
    """401, 403, or an organization on hold."""


class UnknownModel(Blocked):
    """404 for the model of the route."""


class Unkeepable(Blocked):
    """The spool has no room for an answer: what cannot be kept is not asked for."""


class Permanent(Fault):
    """Would fail again the same way."""


class Rejected(Permanent):
    """400 or 422: the request is wrong."""


class TooLong(Permanent):
    """More than the model, or the API, takes in one request."""


class Refused(Permanent):
    """Claude declined to answer. It was paid for."""


class EmptyDocument(Permanent):
    """Nothing in the document to ask about."""


class Broken(Permanent):
    """A bug of ours; the log has the place."""


class KilledWorker(Permanent):
    """Its worker died each time it ran, the last time with nothing else of its kind beside it."""


class OutOfTime(Permanent):
    """Tried for longer than a job may be."""
