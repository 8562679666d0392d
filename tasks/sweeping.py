"""What keeps jobs going when something died: answers settled, lost jobs judged, lost messages published again.

Rules decide, `World` carries out. Everything here may run twice, or at the same time on several machines: each step
is guarded where it is carried out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import structlog
from celery import shared_task

from config.schedule import EXPIRE_EVERY_S, RECOUNT_EVERY_S, SWEEP_EVERY_S
from tasks.document import answered, failed, verdict_on
from tasks.model.burial import Burial
from tasks.model.call import Kept
from tasks.model.fault import Fault
from tasks.model.job import Job, LostJob, Message
from tasks.model.standing import Standing
from tasks.model.verdict import Bury, Done, Verdict
from tasks.ports import Estate, LedgerUnavailable, World, world
from tasks.rules.contract import read
from tasks.rules.judging import LATELY_S, Fate, judge_lost
from tasks.rules.sweeping import lost_messages

PUBLISHED_AT_ONCE = 5_000
"""Messages published again in one sweep: what a worker does in a few seconds."""
EXPIRED_AT_ONCE = 500
DAY_S = 86_400

log = structlog.get_logger("docmill.sweeping")


@shared_task(name="docmill.sweep", ignore_result=True)
async def sweep() -> str:
    """One turn of the upkeep: whoever comes second in the same interval has nothing to do."""
    here = world()
    try:
        await inherit(here)  # this machine's alone, so not a matter of turns
        if not await here.upkeep.take_turn("sweep", SWEEP_EVERY_S):
            return "taken"
        await judge(await here.upkeep.silent_owners(here.spool.living()), here)
        expired = await here.upkeep.expire_jobs(EXPIRED_AT_ONCE)
        await here.broker.mirror(expired)
        closed = await here.upkeep.close_calls()
        if expired or closed:
            log.warning("sweep.closed", expired_jobs=len(expired), unknown_calls=closed)
        if await here.upkeep.take_turn("expire", EXPIRE_EVERY_S):
            letters = await here.upkeep.expire_letters(here.settings.dead_letter_days * DAY_S)
            log.info("letters.expired", letters=letters)
        if await here.upkeep.take_turn("recount", RECOUNT_EVERY_S):
            wrong = await here.upkeep.recount_budgets()
            if wrong:
                log.error("budgets.recounted", counters=wrong)
        await publish_lost(here)
    except LedgerUnavailable as error:
        log.warning("ledger.unavailable", error=str(error))
        return "unavailable"
    return "swept"


async def inherit(here: World) -> None:
    """Settle what dead processes of this machine had paid for, then judge the jobs they were running."""
    dead = [estate.owner for estate in here.spool.estates()]
    if not dead:
        return
    await here.upkeep.note_deaths(dead, LATELY_S)  # all, before the first is judged: each says less if there are many
    for estate in here.spool.estates():
        settled = await settle_all(estate, here)
        await judge([estate.owner], here, all_settled=settled)
        if settled:
            estate.discharge()
        else:
            estate.set_aside()


async def settle_all(estate: Estate, here: World) -> bool:
    """Settle the answers in it that the ledger does not have. False when there is one that it does not take.

    So too where one cannot be read: it may be an answer that the ledger does not have.
    """
    if estate.unreadable:
        log.error("spool.unreadable", owner=estate.owner, answers=estate.unreadable)
    wanted = await here.upkeep.unsettled(estate.kept)
    outcomes = await asyncio.gather(
        *(settle(kept, job, here) for kept, job in wanted),
        return_exceptions=True,
    )
    for outcome in outcomes:
        if isinstance(outcome, LedgerUnavailable):
            raise outcome
        if isinstance(outcome, BaseException):
            log.error("spool.unsettled", owner=estate.owner, error=type(outcome).__name__)
    if wanted:
        log.warning("spool.settled", owner=estate.owner, answers=len(wanted))
    return not estate.unreadable and not any(isinstance(outcome, BaseException) for outcome in outcomes)


async def settle(kept: Kept, job: Job, here: World) -> None:
    """Take an answer from the disk to its verdict, as its own worker would have.

    The message of a job that is to be tried again is left to `publish_lost`.
    """
    call = answered(kept.call, kept.answer, here)
    verdict: Verdict
    try:
        verdict = Done(read(kept.answer, job.recipe))
    except Fault as fault:
        verdict, call = verdict_on(fault, job, here), failed(call, fault)
    ours = await here.ledger.settle(job, call, verdict)
    if ours and isinstance(verdict, Bury):
        lane = here.catalogue.lanes[job.complexity].queue
        await here.broker.mirror([Burial(job.id, job.generation, lane, verdict.fault)])


async def judge(owners: Collection[str], here: World, *, all_settled: bool = True) -> None:
    """Decide what becomes of the jobs that these dead owners were running, and have those that go on published.

    Where not all of their answers could be settled, nothing they sent is asked again, whatever the policy: any of it
    may be paid for, and on the disk.
    """
    if not owners:
        return
    died_lately = await here.upkeep.note_deaths(owners, LATELY_S)
    lost = await here.upkeep.lost_jobs(owners)
    if not lost:
        return
    on_crash = here.settings.on_crash if all_settled else "hold"
    fates = [(job, fate_of(job, died_lately, on_crash, here)) for job in lost]
    again, buried = await here.upkeep.resolve(fates)
    log.warning("worker.lost", owners=sorted(owners), jobs=len(lost), queued=len(again), buried=len(buried))
    await here.broker.mirror(buried)
    await publish(again, here)


def fate_of(job: LostJob, died_lately: int, on_crash: Literal["hold", "retry"], here: World) -> Fate:
    """What the rules say of a lost job."""
    return judge_lost(
        sent=job.sent,
        on_crash=on_crash,
        crashes=job.crashes,
        alone=job.lane == here.catalogue.suspect.queue,
        died_lately=died_lately,
    )


async def publish_lost(here: World) -> None:
    """Publish again what the broker should have and has not, and remind the feeders of what waits for its turn."""
    before = await here.broker.held(here.catalogue.queues)
    standing = await here.upkeep.standing()
    await remind(standing, here)
    after = await here.broker.held(here.catalogue.queues)
    for queue, count in lost_messages(standing, before, after).items():
        if queue not in here.catalogue.queues:
            continue
        messages = await here.upkeep.missing(queue, min(count, PUBLISHED_AT_ONCE))
        if messages:
            log.warning("messages.lost", queue=queue, missing=count, published=len(messages))
        await publish(messages, here)


async def remind(standing: Mapping[str, Standing], here: World) -> None:
    """Have what waits in line fed. A queue that the catalogue does not have has nobody who feeds it."""
    waiting = {queue: jobs.unpublished for queue, jobs in standing.items() if jobs.unpublished}
    unknown = waiting.keys() - here.catalogue.queues.keys()
    if unknown:
        log.error("queue.unknown", queues=sorted(unknown), jobs=sum(waiting[queue] for queue in unknown))
    await here.broker.ring(waiting.keys() - unknown)


async def publish(messages: Sequence[Message], here: World) -> None:
    """Publish, and note it. A message too many does no harm: its job is claimed once."""
    known = [message for message in messages if message.queue in here.catalogue.queues]
    if len(known) < len(messages):
        queues = sorted({message.queue for message in messages} - here.catalogue.queues.keys())
        log.error("queue.unknown", queues=queues, jobs=len(messages) - len(known))
    if known:
        await here.broker.publish(known)
        await here.upkeep.published(known)
