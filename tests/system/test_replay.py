"""Dead letters through the whole of docmill: buried, shown, replayed; the simulator's bill as witness."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from redis import Redis

from config.catalogue import Complexity
from config.prices import load_prices
from tasks.model.job import JobState
from tests.system.mill import Mill
from tests.values import SONNET
from workers.ledger import CostBy, LetterFilter, causes, costs, group_letters, story
from workers.mirror import QUEUE
from workers.producer import Receipt
from workers.replaying import Change, DeadLetters


@pytest.fixture
def dead(busy_mill: Mill) -> DeadLetters:
    return DeadLetters(busy_mill.producer, load_prices(busy_mill.home))


def buried(mill: Mill, documents: list[str]) -> tuple[Receipt, list[str]]:
    """A submission whose every document is refused once; the ids of its jobs."""
    receipt = mill.submit([f"{{{{sim:400x1}}}} {document}" for document in documents])
    results = mill.finish(receipt)
    assert Counter(result.state for result in results) == {JobState.DEAD: len(documents)}
    return receipt, [result.job_id for result in results]


def spent_nanousd(mill: Mill) -> int:
    return sum(line.spent.cost_nanousd for line in costs(mill.producer.database, CostBy.MODEL))


def test_replayed_letters_are_answered_and_paid_for_once(busy_mill: Mill, dead: DeadLetters) -> None:
    receipt, job_ids = buried(busy_mill, [f"letter {n}" for n in range(20)])
    wanted = LetterFilter(submission_id=receipt.submission_id, fault="Rejected", status=400)
    preview = dead.preview(wanted)
    billed, spent = len(busy_mill.bill()), spent_nanousd(busy_mill)
    outcome = dead.replay(wanted)
    assert (preview.letters, preview.same, preview.unpriced) == (20, 20, 0)
    assert (outcome.replayed, outcome.again) == (20, 20)
    assert Counter(result.state for result in busy_mill.finish(receipt)) == {JobState.DONE: 20}
    charged = [row for row in busy_mill.bill()[billed:] if row["charged"]]
    assert set(Counter(row["document_key"] for row in charged).values()) == {1}
    assert len(charged) == 20
    assert spent_nanousd(busy_mill) - spent == sum(row["nanousd"] for row in charged)
    assert 0 < spent_nanousd(busy_mill) - spent <= preview.estimate_nanousd
    told = story(busy_mill.producer.database, job_ids[0])
    assert told is not None
    assert [event.kind for event in told.events] == ["created", "claimed", "buried", "replayed", "claimed", "done"]
    first, second = causes(told)
    assert (first.what, first.fault and first.fault.status, len(first.calls)) == ("buried", 400, 1)
    assert (second.what, second.fault, len(second.calls)) == ("done", None, 1)
    assert dead.preview(wanted).letters == 0


def test_changed_letters_are_answered_by_new_jobs(busy_mill: Mill, dead: DeadLetters) -> None:
    receipt, job_ids = buried(busy_mill, ["changed a", "changed b"])
    outcome = dead.replay(LetterFilter(job_ids=tuple(job_ids)), Change(complexity=Complexity.HIGH, max_tokens=900))
    assert (outcome.created, outcome.replayed) == (2, 2)
    results = busy_mill.finish(receipt)
    assert [(result.state, result.model) for result in results] == [(JobState.DONE, SONNET)] * 2
    for old, result in zip(job_ids, results, strict=True):
        before, after = story(busy_mill.producer.database, old), story(busy_mill.producer.database, result.job_id)
        assert before is not None
        assert after is not None
        assert (before.job.replayed_as, after.job.replay_of) == (after.job.id, before.job.id)
        assert [call.max_tokens for call in after.calls] == [900]
    again = busy_mill.submit([f"{{{{sim:400x1}}}} changed {which}" for which in "ab"])
    assert again.accepted == 0  # the old wish is known, and so is what answers in its place
    assert [result.output for result in busy_mill.finish(again)] == [result.output for result in results]


def test_a_paced_replay_comes_one_after_the_other(busy_mill: Mill, dead: DeadLetters) -> None:
    receipt, job_ids = buried(busy_mill, ["paced a", "paced b", "paced c"])
    dead.replay(LetterFilter(job_ids=tuple(job_ids)), per_minute=60)
    busy_mill.finish(receipt)
    due = []
    for job_id in job_ids:
        told = story(busy_mill.producer.database, job_id)
        assert told is not None
        assert told.job.not_before is not None
        assert told.calls[-1].sent_at >= told.job.not_before
        due.append(told.job.not_before)
    assert all((later - earlier).total_seconds() >= 0.99 for earlier, later in pairwise(sorted(due)))


def test_burials_are_mirrored_to_the_broker_without_text(busy_mill: Mill) -> None:
    _, (job_id,) = buried(busy_mill, ["PLANTED-TEXT"])
    with Redis.from_url(busy_mill.valkey.url) as client:
        busy_mill.until(lambda: job_id in str(client.lrange(QUEUE, 0, 0)), "the burial is in the broker")
        newest = client.lindex(QUEUE, 0)
    assert newest is not None
    entry = json.loads(newest)
    (group,) = group_letters(busy_mill.producer.database, LetterFilter(job_ids=(job_id,)))
    assert (entry["job_id"], entry["fault"], entry["status"]) == (job_id, "Rejected", 400)
    assert entry["fingerprint"] == group.fingerprint
    assert b"PLANTED" not in newest


@pytest.mark.timeout(120)
def test_a_replay_while_the_broker_takes_nothing_loses_nothing(tmp_path: Path) -> None:
    with Mill(tmp_path) as mill:
        worker = mill.start_worker()
        receipt, job_ids = buried(mill, ["a", "b", "c"])
        worker.terminate()
        worker.wait()
        with Redis.from_url(mill.valkey.url) as client:
            client.config_set("maxmemory", "1")
        dead = DeadLetters(mill.producer, load_prices(mill.home))
        assert dead.replay(LetterFilter(job_ids=tuple(job_ids))).replayed == 3
        assert mill.states(receipt) == {JobState.QUEUED: 3}
        with Redis.from_url(mill.valkey.url) as client:
            client.config_set("maxmemory", "0")
        mill.start_beat()  # its sweeper reminds the feeder
        mill.start_worker()
        assert Counter(result.state for result in mill.finish(receipt)) == {JobState.DONE: 3}
        assert Counter(row["charged"] for row in mill.bill()) == {True: 3, False: 3}


@pytest.mark.timeout(120)
def test_an_uncertain_job_is_replayed_and_said_to_be_paid_for_twice(tmp_path: Path) -> None:
    with Mill(tmp_path) as mill:
        worker = mill.start_worker()
        receipt = mill.submit(["{{sim:latency:3}} a letter"])
        mill.until(lambda: mill.in_flight() == 1, "the call is under way")
        worker.kill()
        worker.wait()
        mill.start_worker()
        mill.until(lambda: mill.states(receipt) == {JobState.UNCERTAIN: 1}, "the job is uncertain")
        wanted = LetterFilter(state=JobState.UNCERTAIN, submission_id=receipt.submission_id)
        dead = DeadLetters(mill.producer, load_prices(mill.home))
        preview = dead.preview(wanted)
        assert preview.letters == 1
        assert preview.maybe_paid_nanousd >= preview.estimate_nanousd > 0
        assert dead.replay(wanted).again == 1
        assert mill.finish(receipt)[0].state is JobState.DONE
        assert [row["charged"] for row in mill.bill()] == [True, True]
        assert preview.maybe_paid_nanousd >= mill.bill()[0]["nanousd"]


@pytest.mark.timeout(120)
def test_old_dead_letters_are_discarded_by_the_sweep(tmp_path: Path) -> None:
    with Mill(tmp_path, settings={"dead_letter_days": 1e-6}) as mill:
        mill.start_worker()
        receipt, _ = buried(mill, ["old"])
        mill.start_beat()
        mill.until(lambda: mill.states(receipt) == {JobState.CANCELLED: 1}, "the letter has expired")
