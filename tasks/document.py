"""One job, top to bottom: claim, route, prompt, call, contract, verdict.

Rules decide, `World` carries out. The Celery task at the end is the whole of what Celery knows about documents.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import structlog
from celery import Task, shared_task
from celery.exceptions import Ignore, Reject

from config.prices import UnknownPrice
from tasks.model.burial import Burial
from tasks.model.call import Answer, Call, CallState, Expected, Kept, Prompt, Route, Usage
from tasks.model.fault import Broken, Fault, RateLimited, Unkeepable
from tasks.model.job import Job
from tasks.model.verdict import Bury, Done, Park, RetryIn, Verdict
from tasks.ports import ClaimLost, LedgerUnavailable, World, world
from tasks.rules.contract import read
from tasks.rules.days import day_of
from tasks.rules.judging import Fate, judge_stopped
from tasks.rules.parking import stopped_lanes
from tasks.rules.pricing import cost_nanousd, estimate_nanousd, priced
from tasks.rules.prompting import shell_hash, write_prompt
from tasks.rules.routing import choose, wanted_model
from tasks.rules.verdict import Bounds, judge

TASK_NAME = "docmill.document"
LEDGER_WAIT_S = 10
"""Before a message is tried again that found no ledger to ask."""
LONGEST_ID = 200
"""Characters of a job's id: an argument beyond that is none of ours."""
LEDGER_PAUSE_S = 1
"""Before the ledger is told again, which has its own patience each time."""

T = TypeVar("T")

log = structlog.get_logger("docmill.document")


async def attempt(job: Job, here: World) -> tuple[Verdict, Call | None]:
    """One try at a job: at most one call, and what follows from it. A `Fault` ends as a verdict too."""
    call: Call | None = None
    sent = False
    try:
        route = choose(job, here.catalogue, here.settings.silence_timeout_s)
        prompt = write_prompt(job.document, job.recipe, job.values)
        here.spool.check()
        recipe_hash, is_pdf = job.recipe.hash, job.document.text is None
        expected = here.expectations.of(recipe_hash, route.model, prompt.characters, route.max_tokens, is_pdf=is_pdf)
        await here.limiter.admit(job.token, route.model, expected)
        call = open_call(job, route, prompt, expected, here)
        await write_intent(call, prompt, route, job, here)
        sent = True
        answer = await ask(prompt, route, job, here)
        here.spool.keep(Kept(job.token, call, answer))  # paid for, whatever it is worth
        call = answered(call, answer, here)
        here.expectations.learn(recipe_hash, call, is_pdf=is_pdf)
        output = read(answer, job.recipe)
        here.lanes.saw(route.model, None)
        return Done(output), call
    except Fault as fault:
        fault.__traceback__ = None  # a fault outlives its attempt, whose frames hold the document, and the fault
        return verdict_on(fault, job, here), call and failed(call, fault)
    except asyncio.CancelledError:
        # A stopping worker or a cancelled job. The ledger tells which: it moves only what is still running.
        fate = judge_stopped(sent=sent, on_crash=here.settings.on_crash)
        await here.ledger.hand_back(job, call and (interrupted(call) if sent else unsent(call)), fate)
        raise
    except ClaimLost:
        raise
    except LedgerUnavailable:
        await told(lambda: here.ledger.hand_back(job, call and unsent(call)))
        raise
    except Exception as error:  # noqa: BLE001 - a bug of ours must end as a dead letter, not as a lost message
        broken = Broken(f"internal error: {type(error).__name__} at {place_of(error)}")
        log.error("job.broken", job=job.id, error=broken.message)  # noqa: TRY400 - a traceback quotes the document
        return Bury(broken), call and failed(call, broken)


async def write_intent(call: Call, prompt: Prompt, route: Route, job: Job, here: World) -> None:
    """Have the ledger know of the call before it is made, or give its place in the rate limits back."""
    try:
        await here.ledger.sending(job, call, route, prompt.shell)
    except BaseException:
        here.limiter.release(job.token)
        raise


async def ask(prompt: Prompt, route: Route, job: Job, here: World) -> Answer:
    """One request, whose turn it is. Its place in the rate limits is settled, whatever happens."""
    usage: Usage | None = None
    try:
        answer = await here.claude.ask(prompt, route)
        usage = answer.usage
    finally:
        here.limiter.settle(job.token, usage)
    return answer


async def told(tell: Callable[[], Awaitable[T]]) -> T:
    """Tell the ledger something until it has heard it, however long it is away: what has happened has happened."""
    while True:
        try:
            return await tell()
        except LedgerUnavailable as error:
            log.warning("ledger.unavailable", error=str(error))
            await asyncio.sleep(LEDGER_PAUSE_S)


async def settled(job: Job, call: Call | None, verdict: Verdict, here: World) -> tuple[Verdict, bool]:
    """Have the ledger take what became of an attempt; the verdict that it took, and whether that moved the job.

    An end that it will never take would leave the job running as long as this worker lives. So the job becomes a dead
    letter, which keeps the call and its answer. Where that is refused, too, the job goes back; to a person if there was
    a call, whose answer is on disk. Then raises what the ledger raised.
    """
    try:
        return verdict, await told(lambda: here.ledger.settle(job, call, verdict))
    except Exception as error:  # noqa: BLE001 - whatever it is, the job must end
        log.error("job.unsettled", job=job.id, error=str(error))  # noqa: TRY400 - a traceback quotes the document
        buried = Bury(Broken(f"the ledger does not take its end: {error}"))
    try:
        return buried, await told(lambda: here.ledger.settle(job, call, buried))
    except Exception:
        fate = Fate.AGAIN if call is None else Fate.UNCERTAIN
        await told(lambda: here.ledger.hand_back(job, None, fate))
        raise


def place_of(error: Exception) -> str:
    """File and line that raised. The exception's own message stays out: it may quote the document."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"


def verdict_on(fault: Fault, job: Job, here: World) -> Verdict:
    """What follows from a fault in this job."""
    model = wanted_model(job, here.catalogue)
    storm = here.lanes.saw(model, fault)
    paced = isinstance(fault, RateLimited) and here.limiter.throttled(model, fault)
    settings = here.settings
    bounds = Bounds(settings.max_attempts, settings.max_throttles, settings.longest_pause_s, settings.time_zone)
    return judge(fault, job, bounds, storm=storm, paced=paced, now=here.now(), draw=here.draw())


async def stop_lanes(verdict: Park, job: Job, queue: str, here: World) -> float:
    """Pause what the fault stops; seconds the job's next message has to wait: none where its own queue is stopped."""
    if isinstance(verdict.fault, Unkeepable):
        here.room.stop(verdict.fault)  # this machine's trouble: another may take the job at once
        return 0.0
    lanes = stopped_lanes(verdict.fault, wanted_model(job, here.catalogue), here.catalogue)
    stopped = await here.lanes.pause(lanes, verdict.seconds, verdict.fault)
    return 0.0 if queue in stopped else verdict.seconds


def open_call(job: Job, route: Route, prompt: Prompt, expected: Expected, here: World) -> Call:
    """The intent of a call, with what it would cost at most, and what it will hardly cost more than."""
    now = here.now()
    estimate = held = None
    try:
        price = here.prices.price(route.model, now)
        estimate = estimate_nanousd(prompt.characters, route.max_tokens, price)
        likely = Usage(input=expected.most_input, cache_read=expected.cache_read, output=expected.most_output)
        held = cost_nanousd(likely, price, us_only=True)
        estimate = max(estimate, held)  # what was learned may know of more tokens than the rule of thumb does
    except UnknownPrice:
        pass
    return Call(
        id=here.new_id("c"),
        job_id=job.id,
        attempt=job.attempt,
        generation=job.generation,
        model=route.model,
        max_tokens=route.max_tokens,
        shell_hash=shell_hash(prompt.shell),
        document_hash=job.document.hash,
        queued_ms=job.queued_ms,
        estimate_nanousd=estimate,
        held_nanousd=held,
        characters=prompt.characters,
        day=day_of(now, here.settings.time_zone),
        sent_at=now,
    )


def answered(call: Call, answer: Answer, here: World) -> Call:
    """The call with its answer and cost, by the price of when it was sent; without a price the cost is unknown."""
    price = reckoning = None
    try:
        price = here.prices.price(call.model, call.sent_at or here.now())
        reckoning = priced(answer.usage, price, us_only=answer.us_only)
    except UnknownPrice as error:
        log.warning("price.unknown", model=call.model, error=str(error))
    return replace(
        call,
        state=CallState.ANSWERED,
        usage=answer.usage,
        cost_nanousd=reckoning.cost_nanousd if reckoning else None,
        price=price,
        multipliers=reckoning.multipliers if reckoning else None,
        request_id=answer.request_id,
        status=200,
        stop_reason=answer.stop_reason,
        first_byte_ms=answer.first_byte_ms,
        total_ms=answer.total_ms,
        synthetic=answer.synthetic,
        text=answer.text,
    )


def failed(call: Call, fault: Fault) -> Call:
    """The call with its fault. One that has its answer keeps it: it was paid for, whatever it is worth."""
    if call.state is CallState.ANSWERED:
        return replace(call, fault=fault.kind)
    billed = fault.possibly_billed
    return replace(
        call,
        state=CallState.UNKNOWN if billed else CallState.FAILED,
        cost_nanousd=None if billed else 0,
        fault=fault.kind,
        status=fault.status,
        request_id=fault.request_id,
    )


def interrupted(call: Call) -> Call:
    """The call that was under way when its attempt was cancelled: we cannot tell what it cost."""
    return replace(call, state=CallState.UNKNOWN, fault="Cancelled")


def unsent(call: Call) -> Call:
    """The call that was never made: the ledger could not be told, or the attempt was cancelled before."""
    return replace(call, state=CallState.FAILED, cost_nanousd=0, fault="NotSent")


def report(job: Job, call: Call | None, verdict: Verdict) -> None:
    """One log line for a finished attempt: ids and numbers."""
    fields: dict[str, Any] = {"job": job.id, "attempt": job.attempt, "verdict": type(verdict).__name__.lower()}
    if call is not None:
        fields |= {"model": call.model, "cost_nanousd": call.cost_nanousd, "ms": call.total_ms}
    if isinstance(verdict, RetryIn | Park | Bury):
        fields |= {"fault": verdict.fault.kind, "error": verdict.fault.message, "status": verdict.fault.status}
    log.info("attempt.finished", **fields)


@shared_task(bind=True, name=TASK_NAME, max_retries=None, acks_late=True, ignore_result=True)
async def document(self: Task[Any, Any], job_id: str, generation: int) -> str:
    """Answer one document. The message carries ids only; the ledger says what they mean."""
    if not is_readable(job_id, generation):
        log.error("message.unreadable", error="its arguments are no job id and generation: see `docmill doctor`")
        raise Reject("no job id and generation", requeue=False)
    here = world()
    queue = str((self.request.delivery_info or {}).get("routing_key"))
    try:
        job = await here.ledger.claim(job_id, generation, self.request.id)
        if job is None:
            return "overtaken"
        verdict, call = await attempt(job, here)
        verdict, ours = await settled(job, call, verdict, here)
    except ClaimLost:
        return "overtaken"
    except Exception as error:  # noqa: BLE001 - without the ledger's word the message must not be lost
        event = "ledger.unavailable" if isinstance(error, LedgerUnavailable) else "ledger.refused"
        log.warning(event, job=job_id, error=str(error))
        raise await retry(self, job_id, generation, LEDGER_WAIT_S) from None
    if call is not None:
        here.spool.done(call.id)
    report(job, call, verdict)
    if ours and isinstance(verdict, Bury):
        await here.broker.mirror([Burial(job.id, job.generation, queue, verdict.fault)])
    if call is not None and call.state is CallState.ANSWERED:
        await here.lanes.succeeded(queue, (call.total_ms or 0) / 1000)
    if isinstance(verdict, RetryIn | Park):
        # A lane is paused before the job's next message lies in it.
        wait_s = verdict.seconds if isinstance(verdict, RetryIn) else await stop_lanes(verdict, job, queue, here)
        raise await retry(self, job_id, generation + 1, wait_s, verdict.fault) from None
    return type(verdict).__name__.lower()


def is_readable(job_id: object, generation: object) -> bool:
    """Whether a message's arguments may be a job's."""
    return isinstance(job_id, str) and len(job_id) <= LONGEST_ID and type(generation) is int


async def retry(
    task: Task[Any, Any], job_id: str, generation: int, wait_s: float, fault: Fault | None = None
) -> Exception:
    """Publish the job's next message, to be delivered after `wait_s`, and return what Celery wants raised.

    Where the broker takes no message, the sweeper will publish it: the ledger says that the job waits for one.
    """
    try:
        return await asyncio.to_thread(
            task.retry, args=(job_id, generation), kwargs={}, exc=fault, countdown=wait_s, throw=False
        )
    except Reject as refused:
        log.warning("retry.unpublished", job=job_id, error=type(refused.args[0]).__name__)
        return Ignore()
