"""Whatever dies, every document ends in one outcome, and no answer is paid for twice. Witness: the simulator's bill."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import redis

from config.catalogue import Complexity
from scripts.commands.shared.health.finding import Grade
from scripts.commands.shared.health.spool import spool
from tasks.model.call import CallState
from tasks.model.job import JobState
from tests.system.mill import Mill
from workers.ledger import story
from workers.mirror import QUEUE
from workers.producer import Receipt
from workers.transport import Pauses

pytestmark = pytest.mark.timeout(120)


def slow(count: int, seconds: float = 5) -> list[str]:
    return [f"{{{{sim:latency:{seconds}}}}} Letter {number}." for number in range(count)]


def charged(mill: Mill) -> Counter[str]:
    """How often each document was paid for."""
    return Counter(row["document_key"] for row in mill.bill() if row["charged"])


def answers_kept(mill: Mill) -> int:
    return sum(path.read_bytes().count(b"\n") for path in (mill.home / "spool").glob("*.spool"))


def mirrored(mill: Mill) -> dict[str, str]:
    """The dead-letter queue in the broker: fault by job."""
    with redis.Redis.from_url(mill.valkey.url) as client:
        entries = [json.loads(entry) for entry in client.lrange(QUEUE, 0, -1)]
    return {entry["job_id"]: entry["fault"] for entry in entries}


def is_asked(mill: Mill, job_id: str, number: int) -> bool:
    """Whether request `number` for it is under way: the one before is told as sent, too, until its death is noticed."""
    told = story(mill.producer.database, job_id)
    states = [call.state for call in told.calls] if told else []
    return len(states) == number and states[-1] is CallState.SENT and mill.in_flight() > 0


def refuse(mill: Mill, table: str, state: str) -> None:
    """From now on the ledger lets no row of the table come into this state, however often it is asked."""
    body = "BEGIN SELECT RAISE(ABORT, 'refused for a test'); END"
    change_ledger(mill, f"CREATE TRIGGER refuse BEFORE UPDATE ON {table} WHEN NEW.state = '{state}' {body}")


def accept(mill: Mill) -> None:
    """Undo `refuse`."""
    change_ledger(mill, "DROP TRIGGER refuse")


def change_ledger(mill: Mill, statement: str) -> None:
    with sqlite3.connect(mill.home / "ledger.sqlite3") as connection:
        connection.execute(statement)
    connection.close()


def call_states(mill: Mill, job_id: str) -> list[CallState]:
    told = story(mill.producer.database, job_id)
    return [call.state for call in told.calls] if told else []


@contextmanager
def locked_ledger(mill: Mill) -> Iterator[None]:
    """No other process may write to the ledger."""
    with sqlite3.connect(mill.home / "ledger.sqlite3", isolation_level=None) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    connection.close()


def leave_answers(mill: Mill, count: int) -> Receipt:
    """A worker dies with all its answers on disk and none of them in the ledger."""
    worker = mill.start_worker()
    receipt = mill.submit(slow(count))
    mill.until(lambda: mill.in_flight() == count, "all calls are under way")
    with locked_ledger(mill):
        mill.until(lambda: answers_kept(mill) == count, "all answers are on disk")
        worker.kill()
        worker.wait()
    return receipt


def test_an_answer_that_reached_the_machine_is_not_asked_for_again(mill: Mill) -> None:
    receipt = leave_answers(mill, 20)
    mill.start_worker()
    assert Counter(result.state for result in mill.finish(receipt)) == {JobState.DONE: 20}
    assert set(charged(mill).values()) == {1}
    assert len(charged(mill)) == 20
    mill.stop_workers()
    assert not list((mill.home / "spool").iterdir())


@pytest.mark.parametrize("on_crash", ["hold", "retry"])
def test_answers_in_another_format_are_put_aside_whole_and_settled_once_they_can_be_read(
    tmp_path: Path, on_crash: str
) -> None:
    with Mill(tmp_path, settings={"on_crash": on_crash}) as mill:
        receipt = leave_answers(mill, 3)
        (file,) = (mill.home / "spool").glob("*.spool")
        content = file.read_bytes()
        file.write_bytes(content.replace(b"\n[1,", b"\n[2,", 2))
        mill.start_worker()
        states = Counter(result.state for result in mill.finish(receipt))
        assert states == {JobState.DONE: 1, JobState.UNCERTAIN: 2}, "what is paid for is not asked again"
        aside = file.with_suffix(".unsettled")
        mill.until(aside.exists, "what cannot be read is put aside")
        assert aside.read_bytes().count(b"\n[2,") == 2
        (finding,) = spool(mill.settings)
        assert finding.grade is Grade.WARNING
        assert str(aside.parent) in finding.said
        aside.write_bytes(content)
        aside.rename(file)  # as a docmill would find it that can read them
        mill.start_beat()
        mill.until(lambda: mill.states(receipt).get(JobState.DONE, 0) == 3, "they are settled")
        assert set(charged(mill).values()) == {1}
        (finding,) = spool(mill.settings)
        assert finding.grade is Grade.OK


def test_calls_cut_in_flight_are_uncertain_until_a_person_decides(mill: Mill) -> None:
    (mill.home / "catalogue.toml").write_text("[lanes.low]\nconcurrency = 10\n")
    mill.start_beat()
    dies, _ = mill.start_worker(), mill.start_worker()
    receipt = mill.submit(slow(20, 6))
    mill.until(lambda: mill.in_flight() == 20, "each worker has its 10 calls under way")
    dies.kill()
    dies.wait()
    mill.until(lambda: mill.states(receipt).get(JobState.UNCERTAIN, 0) > 0, "the loss is noticed", wait_s=30)
    states = Counter(result.state for result in mill.finish(receipt))
    assert states == {JobState.DONE: 10, JobState.UNCERTAIN: 10}
    assert set(charged(mill).values()) == {1}
    held = [result for result in mill.producer.results(receipt.submission_id) if result.state is JobState.UNCERTAIN]
    assert {result.fault.kind for result in held if result.fault} == {"WorkerLost"}
    assert {result.spent.unknown_calls for result in held} == {1}


def test_calls_cut_in_flight_are_asked_again_where_that_is_the_policy(tmp_path: Path) -> None:
    with Mill(tmp_path, settings={"on_crash": "retry"}) as mill:
        mill.simulator.configure(latency="fixed:5")
        worker = mill.start_worker()
        receipt = mill.submit(f"Letter {number}." for number in range(20))
        mill.until(lambda: mill.in_flight() == 20, "all calls are under way")
        worker.kill()
        worker.wait()
        mill.simulator.configure(latency="fixed:0.1")
        mill.start_worker()
        assert Counter(result.state for result in mill.finish(receipt)) == {JobState.DONE: 20}
        assert set(charged(mill).values()) == {2}


@pytest.mark.timeout(150)
def test_a_broker_that_forgets_everything_loses_nothing(mill: Mill) -> None:
    mill.start_beat()
    mill.start_worker()
    later = mill.submit([f"{{{{sim:500x2}}}} Unlucky letter {number}." for number in range(40)])
    mill.until(lambda: mill.states(later).get(JobState.WAITING, 0) > 5, "retries wait in the broker")
    mill.stop_workers()
    assert mill.states(later).get(JobState.WAITING, 0) > 0  # for up to 6 s, by chance
    receipt = mill.submit(slow(300, 0.1))
    with redis.Redis.from_url(mill.valkey.url) as client:
        client.flushall()
    mill.start_beat()
    mill.start_worker()
    mill.until(lambda: mill.unfinished(receipt) + mill.unfinished(later) == 0, "every job has ended")
    for submission in (receipt, later):
        assert {result.state for result in mill.finish(submission)} == {JobState.DONE}
    assert set(charged(mill).values()) == {1}


def test_an_end_that_the_ledger_never_takes_is_a_dead_letter_with_its_answer(mill: Mill) -> None:
    refuse(mill, "jobs", "done")
    mill.start_worker()
    receipt = mill.submit(slow(2, 0.1))
    dead, _ = mill.finish(receipt)
    assert mill.states(receipt) == {JobState.DEAD: 2}
    assert dead.fault
    assert dead.fault.kind == "Broken"
    told = story(mill.producer.database, dead.job_id)
    assert told
    (call,) = told.calls
    assert (call.state, bool(call.text)) == (CallState.ANSWERED, True)
    assert dead.spent.cost_nanousd > 0
    assert sorted(charged(mill).values()) == [1, 1]
    assert "job.unsettled" in mill.log(1).read_text()
    mill.stop_workers()
    assert not list((mill.home / "spool").iterdir()), "the ledger has the answers"


def test_an_answer_that_the_ledger_does_not_take_stays_on_disk_and_is_not_asked_for_again(mill: Mill) -> None:
    refuse(mill, "calls", "answered")
    worker = mill.start_worker()
    receipt = mill.submit(slow(1, 0.1))
    mill.finish(receipt)
    assert mill.states(receipt) == {JobState.UNCERTAIN: 1}
    worker.terminate()
    worker.wait()
    assert answers_kept(mill) == 1
    accept(mill)
    mill.start_worker()
    mill.until(lambda: mill.states(receipt) == {JobState.DONE: 1}, "what is on disk is settled")
    assert set(charged(mill).values()) == {1}


def test_a_revoke_is_no_cancel_and_a_cancel_reaches_a_call_whose_message_was_published_again(mill: Mill) -> None:
    mill.start_beat()
    mill.start_worker()
    with redis.Redis.from_url(mill.valkey.url) as client:
        pauses = Pauses(client)
        pauses.pause(["docmill.low"], "a test", by="a person", seconds=None)
        receipt = mill.submit(slow(1, 40), complexity=Complexity.LOW)
        job_id = next(mill.producer.results(receipt.submission_id)).job_id
        mill.producer.revoke([f"{job_id}.0"])  # as Flower's button does
        mill.until(lambda: "revoked" in mill.log(1).read_text(), "the worker has heard of it")
        pauses.resume(["docmill.low"])
    mill.until(lambda: mill.in_flight() == 1, "the job runs all the same", wait_s=60)
    began = time.monotonic()
    mill.producer.cancel([job_id])
    mill.until(lambda: call_states(mill, job_id) == [CallState.UNKNOWN], "the call is given up")
    assert time.monotonic() - began < 20, "it would have taken longer to end by itself"
    assert mill.states(receipt) == {JobState.CANCELLED: 1}


def test_a_document_that_kills_its_worker_is_dead_the_third_time(tmp_path: Path) -> None:
    with Mill(tmp_path, settings={"on_crash": "retry"}) as mill:
        poison = mill.submit(["{{sim:latency:60}} Poison."])
        job_id = next(mill.producer.results(poison.submission_id)).job_id
        bystanders = mill.submit(slow(3, 3))
        for death in (1, 2, 3):
            worker = mill.start_worker()
            mill.until(partial(is_asked, mill, job_id, death), "the poison is at work")
            worker.kill()
            worker.wait()
        mill.start_worker()
        (dead,) = mill.finish(poison)
        assert dead.state is JobState.DEAD
        assert dead.fault
        assert dead.fault.kind == "KilledWorker"
        assert {result.state for result in mill.finish(bystanders)} == {JobState.DONE}
        mill.until(lambda: mirrored(mill) == {job_id: "KilledWorker"}, "the burial is shown in the broker")
