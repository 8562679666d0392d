"""A parked job in the ledger, on both databases: its message is there, no try is used, and its faults are counted."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tasks.model.fault import BillingStopped, Fault, OverBudget, RateLimited, ServerFailed
from tasks.model.job import JobState
from tasks.model.verdict import Done, Park, RetryIn, Verdict
from tests.workers.ledger.samples import submit
from tests.workers.ledger.test_moving import Worker, kinds, tell
from workers.ledger import Database, cancel_jobs


@pytest.fixture
def worker(database: Database) -> Worker:
    return Worker(database, "worker-a")


@pytest.mark.parametrize(
    ("fault", "throttles"), [(BillingStopped("402", status=402), 0), (RateLimited("429", status=429), 1)]
)
def test_a_parked_job_waits_for_its_next_message_and_used_no_try(
    database: Database, worker: Worker, fault: Fault, throttles: int
) -> None:
    _, (added,) = submit(database, ["a"])
    job = worker.must_claim(added.job_id)
    assert worker.settle(job, Park(900, fault))
    assert worker.settle(job, Park(900, fault))  # as after a commit that was not answered
    assert worker.claim(job.id, 0) is None
    told = tell(database, job.id)
    assert told.job.state is JobState.PARKED
    assert told.job.fault is not None
    assert told.job.fault.kind == fault.kind
    assert told.job.published_at is not None
    assert kinds(told) == ["created", "claimed", "parked"]
    assert told.events[-1].detail["seconds"] == 900
    again = worker.must_claim(job.id, 1)  # at once: it is the lane that is paused
    assert (again.attempt, again.throttles) == (0, throttles)
    assert worker.settle(again, Done("out"))


def test_faults_are_counted_by_kind(database: Database, worker: Worker) -> None:
    _, (added,) = submit(database, ["a"])
    verdicts: tuple[Verdict, ...] = (
        RetryIn(0, ServerFailed("500"), counts=True),
        Park(0, RateLimited("429")),
        RetryIn(0, ServerFailed("502"), counts=True),
    )
    for generation, verdict in enumerate(verdicts):
        worker.late = timedelta(seconds=generation)
        assert worker.settle(worker.must_claim(added.job_id, generation), verdict)
    assert worker.must_claim(added.job_id, 3).faults == {"ServerFailed": 2, "RateLimited": 1}


def test_a_job_that_looks_each_minute_for_money_does_not_fill_its_story(database: Database, worker: Worker) -> None:
    _, (added,) = submit(database, ["a"])
    for generation in range(4):
        job = worker.must_claim(added.job_id, generation)
        assert worker.settle(job, Park(30, OverBudget("used up", code="submission")))
        assert worker.settle(job, Park(30, OverBudget("used up", code="submission")))  # as after a lost answer
    assert kinds(tell(database, added.job_id)) == ["created", "claimed", "parked"]
    job = worker.must_claim(added.job_id, 4)
    assert (job.attempt, job.throttles) == (0, 0)
    assert worker.settle(job, Done("out"))
    assert kinds(tell(database, added.job_id)) == ["created", "claimed", "parked", "claimed", "done"]


def test_a_parked_job_can_be_cancelled(database: Database, worker: Worker) -> None:
    _, (added,) = submit(database, ["a"])
    job = worker.must_claim(added.job_id)
    worker.settle(job, Park(900, BillingStopped("402")))
    assert cancel_jobs(database, [job.id]).job_ids == (job.id,)
    assert worker.claim(job.id, 1) is None
