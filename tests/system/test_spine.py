"""Documents through the whole of docmill: real broker, real worker processes, and the simulator's bill as witness."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from config.catalogue import Complexity
from tasks.model.job import JobState
from tests.postgres import PostgresServer
from tests.system.mill import Mill
from workers.ledger import CostBy, costs, story

UNBILLED = {"429": 0.01, "529": 0.02, "500": 0.02, "503": 0.01}
POSSIBLY_BILLED = {"cut": 0.02, "silent_end": 0.01, "html200": 0.01, "badjson": 0.01}


def letters(count: int, text: str = "") -> list[str]:
    return [f"Letter {number}. {text} The parcel came on the {number}th." for number in range(count)]


def ledger_nanousd(mill: Mill) -> int:
    return sum(line.spent.cost_nanousd for line in costs(mill.producer.database, CostBy.MODEL))


@pytest.mark.timeout(120)
def test_the_ledger_equals_the_bill_to_the_nano_dollar(tmp_path: Path) -> None:
    with Mill(tmp_path, faults=UNBILLED) as mill:
        mill.start_worker()
        receipts = [
            mill.submit(letters(100), recipe=recipe) for recipe in ("summarize", "extract-entities", "classify")
        ]
        results = [result for receipt in receipts for result in mill.finish(receipt)]
        assert Counter(result.state for result in results) == {JobState.DONE: 300}
        charged = [row for row in mill.bill() if row["charged"]]
        assert len(charged) == 300
        assert any(row["outcome"].startswith("error") for row in mill.bill())
        assert ledger_nanousd(mill) == sum(row["nanousd"] for row in charged)


@pytest.mark.timeout(120)
def test_what_may_have_been_billed_is_booked_as_unknown(tmp_path: Path) -> None:
    with Mill(tmp_path, faults=POSSIBLY_BILLED) as mill:
        mill.start_worker()
        results = mill.finish(mill.submit(letters(200)))
        assert Counter(result.state for result in results) == {JobState.DONE: 200}
        rows = mill.bill()
        delivered = [row for row in rows if row["charged"] and not row["fault"]]
        spoiled = [row for row in rows if row["charged"] and row["fault"]]
        assert ledger_nanousd(mill) == sum(row["nanousd"] for row in delivered)
        assert sum(line.spent.unknown_calls for line in costs(mill.producer.database, CostBy.MODEL)) == len(spoiled) > 0


@pytest.mark.postgres
@pytest.mark.timeout(120)
def test_the_same_on_postgresql(tmp_path: Path, postgres: PostgresServer) -> None:
    with Mill(tmp_path, database_url=postgres.new_database("spine"), faults=UNBILLED) as mill:
        mill.start_worker()
        mill.start_worker()
        results = mill.finish(mill.submit(letters(200)))
        assert Counter(result.state for result in results) == {JobState.DONE: 200}
        assert ledger_nanousd(mill) == sum(row["nanousd"] for row in mill.bill() if row["charged"])
        assert len([row for row in mill.bill() if row["charged"]]) == 200


def test_complexity_decides_lane_and_model(busy_mill: Mill) -> None:
    receipt = busy_mill.submit(letters(3, "lane"), complexity=Complexity.HIGH)
    assert {result.model for result in busy_mill.finish(receipt)} == {"claude-sonnet-4-6"}
    assert {row["model"] for row in busy_mill.bill()[-3:]} == {"claude-sonnet-4-6"}


def test_a_schema_is_kept_and_a_question_is_asked(busy_mill: Mill) -> None:
    sorted_ = busy_mill.finish(busy_mill.submit(letters(2, "schema"), recipe="classify"))
    assert {"kind", "topic", "language", "confidence"} == set(json.loads(sorted_[0].output or ""))
    values = {"question": "When did the parcel come?"}
    asked = busy_mill.finish(busy_mill.submit(letters(1, "question"), recipe="answer", values=values))
    assert asked[0].state is JobState.DONE


def test_the_same_documents_are_neither_run_nor_paid_for_twice(busy_mill: Mill) -> None:
    before = len(busy_mill.bill())
    documents = letters(5, "twice")
    first = busy_mill.submit(documents)
    outputs = [result.output for result in busy_mill.finish(first)]
    second = busy_mill.submit([*documents, documents[0]])
    assert (second.accepted, second.known[JobState.DONE]) == (0, 6)
    assert [result.output for result in busy_mill.finish(second)] == [*outputs, outputs[0]]
    assert len(busy_mill.bill()) == before + 5
    again = busy_mill.submit(documents, again=True)
    assert again.accepted == 5
    busy_mill.finish(again)
    assert len(busy_mill.bill()) == before + 10


def test_what_would_fail_again_is_dead_with_its_reason(busy_mill: Mill) -> None:
    documents = ["{{sim:400}} a", "{{sim:refusal}} b", "{{sim:truncated}} c", "{{sim:too_long}} d"]
    results = busy_mill.finish(busy_mill.submit(documents))
    assert {result.state for result in results} == {JobState.DEAD}
    assert [result.fault.kind for result in results if result.fault] == ["Rejected", "Refused", "Truncated", "TooLong"]


def test_a_transient_fault_is_tried_again_by_the_broker(busy_mill: Mill) -> None:
    (result,) = busy_mill.finish(busy_mill.submit(["{{sim:500x1}}{{sim:529x1}} a letter"]))
    assert result.state is JobState.DONE
    assert (result.spent.calls, result.attempts, result.throttles) == (3, 2, 1)


def test_cancelled_in_flight(busy_mill: Mill) -> None:
    receipt = busy_mill.submit(["{{sim:latency:5}} a slow letter"])
    busy_mill.until(lambda: in_flight(busy_mill) == 1, "the call is under way")
    job = next(busy_mill.producer.results(receipt.submission_id)).job_id
    busy_mill.producer.cancel([job])
    assert busy_mill.states(receipt) == {JobState.CANCELLED: 1}
    busy_mill.until(lambda: in_flight(busy_mill) == 0, "the call is given up")
    busy_mill.until(lambda: call_states(busy_mill, job) == ["unknown"], "the call's cost is told to be unknown")


def test_nothing_secret_is_in_the_log_or_the_broker(busy_mill: Mill) -> None:
    planted = "PLANTED-TEXT"
    markers = ("", "{{sim:400}}", "{{sim:500x1}}", "{{sim:badjsonx1}}")
    busy_mill.finish(busy_mill.submit([f"{planted} {marker}" for marker in markers]))
    files = [busy_mill.log(1), *(path for path in (busy_mill.home / "valkey").rglob("*") if path.is_file())]
    seen = "".join(path.read_bytes().decode("latin-1") for path in files)
    assert "attempt.finished" in seen
    assert "docmill.document" in seen
    assert planted not in seen


@pytest.mark.parametrize("on_crash", ["hold", "retry"])
def test_sigterm_lets_calls_finish_hands_back_what_was_not_sent_and_repeats_no_call_unasked(
    tmp_path: Path, on_crash: str
) -> None:
    (tmp_path / "catalogue.toml").write_text("[lanes.low]\nconcurrency = 2\n")
    with Mill(tmp_path, settings={"on_crash": on_crash, "drain_timeout_s": 8}) as mill:
        worker = mill.start_worker()
        texts = ["{{sim:latency:4}} quick", "{{sim:latency:20}} slow", "waits"]
        receipt = mill.submit(texts, complexity=Complexity.LOW)
        mill.until(lambda: in_flight(mill) == 2, "both calls are under way")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
        if on_crash == "hold":
            assert mill.states(receipt) == {JobState.DONE: 1, JobState.UNCERTAIN: 1, JobState.QUEUED: 1}
            mill.start_worker()
            mill.until(lambda: mill.unfinished(receipt) == 0, "the one that waited is done")
            assert mill.states(receipt) == {JobState.DONE: 2, JobState.UNCERTAIN: 1}
            assert len(mill.bill()) == 3
        else:
            assert mill.states(receipt) == {JobState.DONE: 1, JobState.QUEUED: 2}
            again = mill.start_worker()
            mill.until(lambda: mill.states(receipt).get(JobState.RUNNING) == 1, "the slow one runs again")
            again.kill()  # which is shorter than its grace


@pytest.mark.parametrize(
    ("options", "routes", "said"),
    [
        ([], 'high = "claude-9"', "routes.high = 'claude-9': not one of"),
        (["-P", "threads"], "", "leave out -P/--pool"),
    ],
)
def test_a_worker_that_could_do_no_job_ends_with_one_line(
    mill: Mill, options: list[str], routes: str, said: str
) -> None:
    (mill.home / "catalogue.toml").write_text(f"[routes]\n{routes}\n")
    command = [sys.executable, "-m", "celery", "-A", "workers.app", "worker", *options]
    ended = subprocess.run(command, env=mill.environment, capture_output=True, text=True, timeout=40, check=False)
    assert ended.returncode != 0
    assert said in (ended.stderr + ended.stdout).splitlines()[-1]


def in_flight(mill: Mill) -> int:
    """Requests the simulator is answering."""
    count: int = mill.simulator.bill(totals_only=True)["totals"]["in_flight"]
    return count


def call_states(mill: Mill, job: str) -> list[str]:
    """The states of a job's calls, in the order they were sent."""
    told = story(mill.producer.database, job)
    return [call.state for call in told.calls] if told else []
