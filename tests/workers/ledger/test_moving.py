"""A job's way through a worker, on both databases: who may take which step when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import Connection, select

from config.recipe import Recipe
from tasks.model.call import Call, CallState, Usage
from tasks.model.fault import Fault, NoRoom, OverBudget, Overloaded, Rejected, ServerFailed, SpendCap, TimedOut
from tasks.model.job import Job, JobState, LostJob, Message, Step, sources
from tasks.model.verdict import Bury, Done, Park, RetryIn, Verdict
from tasks.rules.judging import Fate
from tasks.rules.replaying import Asked
from tests.workers.ledger.samples import DAY, ROUTE, VALUES, answered, call_of, submit
from workers.ledger import (
    Anew,
    CostBy,
    Database,
    JobLine,
    LetterFilter,
    Published,
    Spent,
    Story,
    cancel_jobs,
    costs,
    discard_letters,
    mark_published,
    moving,
    progress,
    prompt,
    read_letters,
    replace_letters,
    results,
    steps,
    story,
    summary,
    upkeep,
)
from workers.ledger.moving import Claim, Owner, Recipes, Return, Sending, Settlement
from workers.ledger.tables import jobs

BY_A_PERSON = {Step.REPLAY, Step.DISCARD}
"""Their guards are tested with `workers.ledger.replaying`."""


class Worker:
    """A worker process's writes, one at a time, at a moment of the test's choosing."""

    def __init__(self, database: Database, name: str) -> None:
        self.database = database
        self.name = name
        self.late = timedelta()
        self.tokens: dict[str, str] = {}
        """Of its last claim of each job."""
        self._claims = 0
        self.report()

    def report(self) -> None:
        at = self._now()
        self.database.write(partial(moving.report, owner=Owner(self.name, "host", 1, at), at=at))

    def claim(self, job_id: str, generation: int = 0) -> Job | None:
        self._claims += 1
        return self.repeat_claim(Claim(job_id, generation, f"{self.name}-{self._claims}"))

    def claim_by(self, message_id: str, job_id: str, generation: int = 0) -> Job | None:
        """Claim by the message with this id."""
        self._claims += 1
        return self.repeat_claim(Claim(job_id, generation, f"{self.name}-{self._claims}", message_id))

    def repeat_claim(self, claim: Claim) -> Job | None:
        at, name = self._now(), self.name
        self.database.write(
            partial(moving.claim, claims=[claim], owner=name, at=at),
        )
        job = self.database.read(partial(moving.claimed, claims=[claim], recipes=Recipes())).get(claim.token)
        if job is not None:
            self.tokens[job.id] = job.token
        return job

    def must_claim(self, job_id: str, generation: int = 0) -> Job:
        job = self.claim(job_id, generation)
        assert job is not None
        return job

    def send(self, sending: Sending) -> bool:
        write = partial(moving.sending, requests=[sending], at=self._now())
        return sending.call.id in self.database.write(write)

    def settle(self, job: Job, verdict: Verdict, call: Call | None = None) -> bool:
        settlement = Settlement(job, call, verdict)
        return job.token in self.database.write(partial(moving.settle, settlements=[settlement], at=self._now()))

    def hand_back(self, job: Job, call: Call | None = None, fate: Fate = Fate.AGAIN) -> None:
        back = Return(job.id, job.token, call, fate)
        self.database.write(partial(moving.hand_back, returns=[back], at=self._now()))

    def die(self, job: Job, fate: Fate, *, sent: bool = False) -> list[Message]:
        """This worker is gone, and what it was running is judged."""
        lost = LostJob(job.id, job.token, job.generation, job.attempt, "low", crashes=0, sent=sent)
        again, _ = self.database.write(
            partial(upkeep._resolve, fates=[(lost, fate)], suspect="suspect", at=self._now()),
        )
        return again

    def _now(self) -> datetime:
        return self.database.now() + self.late


@pytest.fixture
def worker(database: Database) -> Worker:
    return Worker(database, "worker-a")


def tell(database: Database, job_id: str) -> Story:
    told = story(database, job_id)
    assert told is not None
    return told


def kinds(told: Story) -> list[str]:
    return [event.kind for event in told.events]


def test_a_job_is_claimed_once_and_comes_with_everything_it_needs(database: Database, worker: Worker) -> None:
    _, (added,) = submit(database, ["a letter"])
    job = worker.must_claim(added.job_id)
    assert job.document.text == "a letter"
    assert job.document.name == "a letter.txt"
    assert job.document.pdf is None
    assert job.recipe.instruct(job.values) == "In ten words."
    assert dict(job.values) == VALUES
    assert 0 <= job.queued_ms < 60_000
    assert worker.claim(added.job_id) is None
    assert Worker(database, "worker-b").claim(added.job_id) is None


@pytest.mark.parametrize("generation", [-1, 1])
def test_a_message_of_another_generation_loses_the_claim(database: Database, worker: Worker, generation: int) -> None:
    _, (added,) = submit(database, ["a"])
    assert worker.claim(added.job_id, generation) is None
    assert worker.claim("job-nobody") is None


def test_a_claim_whose_commit_went_unanswered_is_found_when_it_is_repeated(database: Database, worker: Worker) -> None:
    _, (added,) = submit(database, ["a"])
    claim = Claim(added.job_id, 0, "token")
    first = worker.repeat_claim(claim)
    assert first is not None
    assert worker.repeat_claim(claim) == first
    assert kinds(tell(database, added.job_id)) == ["created", "claimed"]


def test_an_answer_ends_the_job_with_its_call_and_cost(database: Database, worker: Worker) -> None:
    submission_id, (added,) = submit(database, ["a"])
    job = worker.must_claim(added.job_id)
    call, shell = call_of(job)
    assert worker.send(Sending(job.token, call, ROUTE, shell))
    assert worker.settle(job, Done("out"), answered(call))
    told = tell(database, job.id)
    assert told.job.state is JobState.DONE
    assert told.job.output == "out"
    assert (told.job.route_model, told.job.route_reason) == (ROUTE.model, ROUTE.reason)
    assert told.calls[0].usage == Usage(input=10, cache_read=7, output=5)
    assert told.calls[0].text == "an answer"
    assert told.calls[0].finished_at is not None
    assert kinds(told) == ["created", "claimed", "done"]
    (result,) = results(database, submission_id)
    assert (result.state, result.output, result.attempts, result.metadata) == (JobState.DONE, "out", 1, {"n": 0})
    assert result.spent == Spent(calls=1, cost_nanousd=123, synthetic_calls=1, usage=Usage(10, 0, 0, 7, 5, 0))
    assert prompt(database, call.id) == {
        "system": "You summarize.",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "<document>\na\n</document>"},
                    {"type": "text", "text": "In ten words."},
                ],
            }
        ],
        "output_schema": None,
    }


def test_settling_twice_keeps_the_first_verdict_and_says_it_was_ours(database: Database, worker: Worker) -> None:
    _, (added,) = submit(database, ["a"])
    job = worker.must_claim(added.job_id)
    assert worker.settle(job, Done("first"))
    assert worker.settle(job, Done("second"))
    assert not worker.settle(job, Bury(Rejected("no")))
    told = tell(database, job.id)
    assert (told.job.state, told.job.output) == (JobState.DONE, "first")
    assert kinds(told) == ["created", "claimed", "done"]


def test_a_retry_waits_for_its_time_and_its_own_message(database: Database, worker: Worker) -> None:
    _, (added,) = submit(database, ["a"])
    job = worker.must_claim(added.job_id)
    fault = ServerFailed("500 from the API", status=500, code="api_error", request_id="req_9")
    assert worker.settle(job, RetryIn(60, fault, counts=True))
    assert worker.claim(job.id, 0) is None
    assert worker.claim(job.id, 1) is None
    told = tell(database, job.id)
    assert told.job.state is JobState.WAITING
    assert told.job.fault is not None
    assert (told.job.fault.kind, told.job.fault.status, told.job.fault.request_id) == ("ServerFailed", 500, "req_9")
    assert told.events[-1].detail["seconds"] == 60
    worker.late = timedelta(seconds=61)
    again = worker.must_claim(job.id, 1)
    assert (again.attempt, again.throttles, again.generation) == (1, 0, 1)
    assert again.queued_ms < 30_000  # from when it was due
    assert worker.settle(again, Done("out"))
    assert tell(database, job.id).job.fault is None


def test_being_told_to_wait_is_not_an_attempt(database: Database, worker: Worker) -> None:
    _, (added,) = submit(database, ["a"])
    job = worker.must_claim(added.job_id)
    worker.settle(job, RetryIn(0, Overloaded("529"), counts=False))
    again = worker.must_claim(job.id, 1)
    assert (again.attempt, again.throttles) == (0, 1)


@pytest.mark.parametrize("fault", [NoRoom("25 s away", retry_after_s=25), OverBudget("day")])
def test_what_limits_of_our_own_hold_back_was_not_tried(database: Database, worker: Worker, fault: Fault) -> None:
    _, (added,) = submit(database, ["a"])
    job = worker.must_claim(added.job_id)
    worker.settle(job, RetryIn(0, Overloaded("529"), counts=False))
    for generation in range(1, 4):
        job = worker.must_claim(job.id, generation)
        worker.settle(job, RetryIn(0, fault, counts=False))
    again = worker.must_claim(job.id, 4)
    assert (again.attempt, again.throttles) == (0, 1)


def test_a_dead_letter_keeps_its_reason(database: Database, worker: Worker) -> None:
    submission_id, (added,) = submit(database, ["a"])
    job = worker.must_claim(added.job_id)
    assert worker.settle(job, Bury(Rejected("400 for a reason", status=400, code="invalid_request_error")))
    (result,) = results(database, submission_id)
    assert result.state is JobState.DEAD
    assert result.fault is not None
    assert (result.fault.kind, result.fault.message, result.fault.code) == (
        "Rejected",
        "400 for a reason",
        "invalid_request_error",
    )
    assert worker.claim(job.id) is None


def test_a_job_handed_back_is_free_for_the_same_message(database: Database, worker: Worker) -> None:
    _, (added,) = submit(database, ["a"])
    job = worker.must_claim(added.job_id)
    call, shell = call_of(job)
    worker.send(Sending(job.token, call, ROUTE, shell))
    worker.hand_back(job, replace(call, state=CallState.UNKNOWN, fault="Cancelled"))
    assert Worker(database, "worker-b").must_claim(job.id).attempt == 0
    assert not worker.settle(job, Bury(Rejected("late")))
    assert tell(database, job.id).calls[0].state is CallState.UNKNOWN


def test_a_job_whose_call_a_stop_cut_off_is_left_to_a_person(database: Database, worker: Worker) -> None:
    _, (added,) = submit(database, ["a"])
    job = worker.must_claim(added.job_id)
    call, shell = call_of(job)
    worker.send(Sending(job.token, call, ROUTE, shell))
    for _ in range(2):  # the answer to the first commit was lost
        worker.hand_back(job, replace(call, state=CallState.UNKNOWN, fault="Cancelled"), Fate.UNCERTAIN)
    told = tell(database, job.id)
    assert (told.job.state, told.calls[0].state) == (JobState.UNCERTAIN, CallState.UNKNOWN)
    assert kinds(told) == ["created", "claimed", "uncertain"]
    assert told.job.fault is not None
    assert told.job.fault.kind == "WorkerLost"
    assert Worker(database, "worker-b").claim(job.id) is None
    database.read(lambda connection: _assert_no_crash(connection, job.id))


def _assert_no_crash(connection: Connection, job_id: str) -> None:
    assert connection.execute(select(jobs.c.crashes).where(jobs.c.id == job_id)).scalar_one() == 0, "nobody died"


def test_a_job_that_was_cancelled_stays_so_when_its_worker_stops(database: Database, worker: Worker) -> None:
    _, (added,) = submit(database, ["a"])
    job = worker.must_claim(added.job_id)
    cancel_jobs(database, [job.id])
    worker.hand_back(job, None, Fate.UNCERTAIN)
    assert tell(database, job.id).job.state is JobState.CANCELLED


def test_a_running_job_is_nobody_elses_until_its_worker_is_judged(database: Database, worker: Worker) -> None:
    _, (added,) = submit(database, ["a"])
    job = worker.must_claim(added.job_id)
    call, shell = call_of(job)
    worker.send(Sending(job.token, call, ROUTE, shell))
    other = Worker(database, "worker-b")
    other.late = timedelta(hours=1)
    assert other.claim(job.id) is None  # however long its owner has not been seen
    assert worker.die(job, Fate.AGAIN, sent=True) == [Message(job.id, 0, "low")]
    taken = other.must_claim(job.id)
    told = tell(database, job.id)
    assert kinds(told) == ["created", "claimed", "worker_lost", "claimed"]
    assert told.calls[0].state is CallState.UNKNOWN
    assert not worker.send(Sending(job.token, replace(call, id="call-late"), ROUTE, shell))
    assert not worker.settle(job, RetryIn(1, ServerFailed("late"), counts=True))
    assert other.settle(taken, Done("out"))


def test_of_two_claims_by_the_same_process_the_later_one_may_send(database: Database, worker: Worker) -> None:
    """It was given up by mistake while its first claim waited for its turn, and got the job once more."""
    _, (added,) = submit(database, ["a"])
    first = worker.must_claim(added.job_id)
    worker.die(first, Fate.AGAIN)
    second = worker.must_claim(added.job_id)
    requests = [Sending(job.token, call_of(job)[0], ROUTE, call_of(job)[1]) for job in (first, second)]
    assert not worker.send(requests[0])
    write = partial(moving.sending, requests=requests, at=database.now())  # as one group
    assert database.write(write) == {requests[1].call.id}
    assert database.write(write) == {requests[1].call.id}, "the answer to the first commit was lost"
    assert [line.id for line in tell(database, added.job_id).calls] == [requests[1].call.id]


def given_up(database: Database, worker: Worker) -> tuple[str, Job, Call, str]:
    """A submission's job that is to be asked again, its worker given up with the call under way; the call's shell."""
    submission_id, (added,) = submit(database, ["a"])
    job = worker.must_claim(added.job_id)
    call, shell = call_of(job)
    worker.send(Sending(job.token, call, ROUTE, shell))
    worker.die(job, Fate.AGAIN, sent=True)
    return submission_id, job, call, shell


def test_the_first_right_answer_wins_and_every_paid_call_is_recorded(database: Database, worker: Worker) -> None:
    _, job, call, shell = given_up(database, worker)
    other = Worker(database, "worker-b")
    taken = other.must_claim(job.id)
    second, _ = call_of(taken)
    other.send(Sending(taken.token, second, ROUTE, shell))
    assert worker.settle(job, Done("late, and first"), answered(call))
    assert not other.settle(taken, Done("too late"), answered(second))
    told = tell(database, job.id)
    assert told.job.output == "late, and first"
    assert [line.cost_nanousd for line in told.calls] == [123, 123]


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.WAITING, JobState.PARKED, JobState.RUNNING])
def test_a_right_answer_ends_a_job_that_has_moved_on_to_another_try(
    database: Database, worker: Worker, state: JobState
) -> None:
    submission_id, job, call, shell = given_up(database, worker)
    other = Worker(database, "worker-b")
    taken = other.must_claim(job.id)
    other.settle(
        taken, Park(60, SpendCap("429")) if state is JobState.PARKED else RetryIn(0, TimedOut("30 s"), counts=True)
    )
    if state in {JobState.QUEUED, JobState.RUNNING}:
        taken = other.must_claim(job.id, 1)
    if state is JobState.QUEUED:
        other.hand_back(taken)
    assert tell(database, job.id).job.state is state
    for _ in range(2):  # the answer to the first commit was lost
        assert worker.settle(job, Done("paid for"), answered(call))
    told = tell(database, job.id)
    assert (told.job.state, told.job.output, told.job.fault) == (JobState.DONE, "paid for", None)
    assert kinds(told)[-1] == "done"
    assert kinds(told).count("done") == 1
    assert other.claim(job.id, 1) is None, "its message finds nothing to do"
    late, _ = call_of(taken)
    assert not other.send(Sending(taken.token, late, ROUTE, shell)), "and a claim under way sends nothing"
    assert not other.settle(taken, RetryIn(0, ServerFailed("500"), counts=True))
    (result,) = results(database, submission_id)
    assert result.attempts == (1 if state is JobState.PARKED else 2)
    assert result.spent.cost_nanousd == 123


@pytest.mark.parametrize("end", ["cancelled", "dead", "discarded", "changed"])
def test_a_late_answer_brings_nothing_back_that_has_ended(database: Database, worker: Worker, end: str) -> None:
    _, job, call, _ = given_up(database, worker)
    other = Worker(database, "worker-b")
    if end == "cancelled":
        cancel_jobs(database, [job.id])
    else:
        other.settle(other.must_claim(job.id), Bury(Rejected("400")))
    letters = LetterFilter(job_ids=(job.id,))
    if end == "discarded":
        discard_letters(database, letters)
    elif end == "changed":
        ((letter,),) = read_letters(database, letters)
        asked = Asked(letter.recipe, {"words": "six"}, letter.complexity, letter.model)
        (changed,) = replace_letters(database, JobState.DEAD, [Anew(letter, asked, "low")])
        assert changed.job_id != job.id
    before = tell(database, job.id).job
    assert not worker.settle(job, Done("late"), answered(call))
    told = tell(database, job.id)
    assert (told.job.state, told.job.output) == (before.state, None)
    assert told.calls[0].cost_nanousd == 123, "what was paid is in the ledger all the same"


def test_nothing_is_sent_for_a_cancelled_job_and_its_call_is_recorded_all_the_same(
    database: Database, worker: Worker
) -> None:
    _, (added, other) = submit(database, ["a", "b"])
    job, in_flight = worker.must_claim(added.job_id), worker.must_claim(other.job_id)
    call, shell = call_of(in_flight)
    worker.send(Sending(in_flight.token, call, ROUTE, shell))
    cancel_jobs(database, [job.id, in_flight.id])
    assert not worker.send(Sending(job.token, call_of(job)[0], ROUTE, shell))
    assert not worker.settle(in_flight, Done("out"), answered(call))
    told = tell(database, in_flight.id)
    assert (told.job.state, told.job.output, told.calls[0].cost_nanousd) == (JobState.CANCELLED, None, 123)


def test_an_unknown_cost_is_counted_apart_and_is_not_zero(database: Database, worker: Worker) -> None:
    submission_id, added = submit(database, ["a", "b", "c"])
    for one, cost in zip(added, [100, None, 50], strict=True):
        job = worker.must_claim(one.job_id)
        call, shell = call_of(job)
        worker.send(Sending(job.token, call, ROUTE, shell))
        worker.settle(job, Done("out"), answered(call, cost_nanousd=cost))
    total = summary(database, submission_id)
    assert total is not None
    assert total.states[JobState.DONE] == 3
    assert (total.spent.cost_nanousd, total.spent.unknown_calls, total.spent.unknown_estimate_nanousd) == (150, 1, 900)
    groups = {by: costs(database, by) for by in CostBy}
    assert {by: [line.group for line in lines] for by, lines in groups.items()} == {
        CostBy.DAY: [DAY],
        CostBy.MODEL: [ROUTE.model],
        CostBy.RECIPE: ["summarize"],
        CostBy.COMPLEXITY: ["low"],
        CostBy.SUBMISSION: [submission_id],
        CostBy.FAULT: ["none"],
    }
    assert all(line.spent == total.spent for lines in groups.values() for line in lines)
    assert costs(database, CostBy.DAY, until="2026-11-21") == costs(database, CostBy.DAY, since="2026-11-23") == []


@pytest.mark.parametrize("step", [step for step in Step if step not in BY_A_PERSON])
@pytest.mark.parametrize("state", JobState)
def test_a_step_is_taken_from_the_states_of_the_pure_machine_and_no_other(
    database: Database, worker: Worker, step: Step, state: JobState
) -> None:
    _, (added,) = submit(database, ["a"])
    job = _bring_to(state, worker, added.job_id)
    before = tell(database, added.job_id).job
    _try(step, worker, job, before)
    after = tell(database, added.job_id).job.state
    assert after is (steps.target(step) if state in sources(step) else state)


def test_a_cancel_names_the_message_that_a_job_runs_by(database: Database, worker: Worker) -> None:
    """Its first message was taken for lost and published once more; either may be the one that gets the job."""
    _, (added, other) = submit(database, ["a", "b"])
    for one, message_id in ((added, "again"), (other, f"{other.job_id}.0")):
        assert worker.claim_by(message_id, one.job_id)
        assert worker.claim_by("too late", one.job_id) is None
    mark_published(database, [Published(added.job_id, 0, f"{added.job_id}.0")])  # the note of the first comes late
    cancelled = cancel_jobs(database, [added.job_id, other.job_id])
    assert set(cancelled.message_ids) == {"again", f"{other.job_id}.0"}


def _bring_to(state: JobState, worker: Worker, job_id: str) -> Job:
    """Bring a fresh job to `state`; returns its last claim, or one that never was."""
    job = worker.must_claim(job_id)
    match state:
        case JobState.QUEUED:
            worker.hand_back(job)
        case JobState.WAITING:
            worker.settle(job, RetryIn(0, ServerFailed("500"), counts=True))
        case JobState.DONE:
            worker.settle(job, Done("out"))
        case JobState.DEAD:
            worker.settle(job, Bury(Rejected("400")))
        case JobState.CANCELLED:
            cancel_jobs(worker.database, [job_id])
        case JobState.PARKED:
            worker.settle(job, Park(60, SpendCap("429")))
        case JobState.UNCERTAIN:
            worker.die(job, Fate.UNCERTAIN)
        case JobState.RUNNING:
            pass
    return job


def _try(step: Step, worker: Worker, job: Job, line: JobLine) -> None:
    """Take `step` with the right token and generation, so that only the state can be in the way."""
    job = replace(job, generation=line.generation)
    match step:
        case Step.CLAIM:
            worker.claim(job.id, line.generation)
        case Step.SETTLE:
            worker.settle(job, Done("again"))
        case Step.DELAY:
            worker.settle(job, RetryIn(0, ServerFailed("500"), counts=True))
        case Step.BURY:
            worker.settle(job, Bury(Rejected("400")))
        case Step.HAND_BACK:
            worker.hand_back(job)
        case Step.PARK:
            worker.settle(job, Park(60, SpendCap("429")))
        case Step.LOSE:
            worker.die(job, Fate.UNCERTAIN)
        case Step.EXPIRE:
            at = worker.database.now()
            worker.database.write(partial(upkeep._expire, deadline_s=-60, limit=1, at=at))
        case Step.CANCEL:
            cancel_jobs(worker.database, [job.id])


def test_a_group_takes_each_step_for_each_job(database: Database, worker: Worker) -> None:
    submission_id, added = submit(database, [f"text {number}" for number in range(60)])
    claims = [Claim(one.job_id, 0, f"token {one.job_id}") for one in added]
    at = database.now()
    database.write(partial(moving.claim, claims=claims, owner=worker.name, at=at))
    jobs = list(database.read(partial(moving.claimed, claims=claims, recipes=Recipes())).values())
    assert len(jobs) == 60
    verdicts: Sequence[Verdict] = [Done("out"), RetryIn(5, ServerFailed("500"), counts=True), Bury(Rejected("400"))]
    settlements = [Settlement(job, None, verdicts[number % 3]) for number, job in enumerate(jobs)]
    moved: Iterable[str] = database.write(partial(moving.settle, settlements=settlements, at=at))
    assert set(moved) == {job.token for job in jobs}
    counts = progress(database, submission_id)
    assert {state: count for state, count in counts.items() if count} == dict.fromkeys(
        (JobState.DONE, JobState.WAITING, JobState.DEAD), 20
    )


def test_a_recipe_is_the_one_it_was_submitted_with(database: Database, worker: Worker) -> None:
    _, (added,) = submit(database, ["a"])
    recipe: Recipe = worker.must_claim(added.job_id).recipe
    assert recipe.output_schema is None
    assert recipe.name == "summarize"
