"""Time limits and revoking."""

from __future__ import annotations

import uuid

import pytest
from celery.exceptions import SoftTimeLimitExceeded, TaskRevokedError, TimeLimitExceeded

from tests.workers.pool.conftest import Worker, wait_until


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex


def test_soft_limit_cancels_the_body_and_fails_the_task(worker: Worker, key: str) -> None:
    sent = worker.send("softly_limited", key)
    with pytest.raises(SoftTimeLimitExceeded):
        sent.get(timeout=20)
    assert worker.notes(key, 1) == ["cancelled"]


def test_a_body_may_wrap_up_at_its_soft_limit(worker: Worker, key: str) -> None:
    assert worker.call("wraps_up", key) == "wrapped up"


def test_a_soft_limit_can_be_retried(worker: Worker, key: str) -> None:
    assert worker.call("retries_after_its_limit", key) == "second try"


def test_limits_given_with_the_message(worker: Worker, key: str) -> None:
    with pytest.raises(SoftTimeLimitExceeded):
        worker.send("nap", 60, soft_time_limit=0.2).get(timeout=20)
    with pytest.raises(TimeLimitExceeded):
        worker.send("nap", 60, time_limit=0.2).get(timeout=20)


def test_hard_limit_ends_the_task(worker: Worker, key: str) -> None:
    with pytest.raises(TimeLimitExceeded):
        worker.send("hard_limited", key).get(timeout=20)
    wait_until(lambda: worker.ask("stats")["pool"]["in-flight"] == 0)


def test_a_body_that_ignores_its_hard_limit_is_abandoned(worker: Worker, key: str) -> None:
    with pytest.raises(TimeLimitExceeded):
        worker.send("hard_limited_and_stubborn", key).get(timeout=20)
    assert worker.notes(key, 2) == ["started", "ignored"]
    worker.wait_for_log("abandoned, its slot is free")
    wait_until(lambda: worker.ask("stats")["pool"]["in-flight"] == 0)


def test_a_plain_task_past_its_hard_limit_is_reported(worker: Worker) -> None:
    with pytest.raises(TimeLimitExceeded):
        worker.send("plain_hard_limited").get(timeout=20)  # its body takes longer


def test_revoke_cancels_a_running_body(worker: Worker, key: str) -> None:
    sent = worker.send("nap", 60, key)
    assert worker.notes(key, 1) == [["started", sent.id]]
    sent.revoke(terminate=True)
    assert worker.notes(key, 1) == [["cancelled", sent.id]]
    with pytest.raises(TaskRevokedError):
        sent.get(timeout=20)
    wait_until(lambda: worker.ask("stats")["pool"]["in-flight"] == 0)
    assert worker.waiting() == 0
    assert worker.held() == 0


def test_a_revoked_task_stays_revoked_whatever_its_body_returns(worker: Worker, key: str) -> None:
    sent = worker.send("stubborn", 4, key)  # less than what it takes to be abandoned
    worker.notes(key, 1)
    sent.revoke(terminate=True)
    assert worker.notes(key, 1) == ["ignored"]
    wait_until(lambda: worker.ask("stats")["pool"]["in-flight"] == 0)
    assert str(sent.state) == "REVOKED"


def test_revoke_of_a_plain_task_frees_its_slot(worker: Worker) -> None:
    sent = worker.send("plain", 60)
    wait_until(lambda: any(task["id"] == sent.id for task in worker.ask("active")))
    sent.revoke(terminate=True)
    with pytest.raises(TaskRevokedError):
        sent.get(timeout=20)
    wait_until(lambda: worker.ask("stats")["pool"]["in-flight"] == 0)
