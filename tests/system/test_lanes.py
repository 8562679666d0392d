"""Money, keys and models that stop lanes: jobs wait, use no attempt, and are all done once the trouble is over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
import redis

from config.catalogue import Complexity
from tasks.model.job import JobState
from tasks.rules.parking import STORM_CALLS
from tests.system.mill import Mill
from workers.ledger import story
from workers.limiter import read_limits
from workers.transport import Keys, Pause, Pauses

LANES = ["docmill.low", "docmill.medium", "docmill.high", "docmill.suspect"]
LOW_SLOTS = 200
PAUSE_S = 2


def letters(count: int, text: str = "") -> list[str]:
    return [f"Letter {number}. {text} The parcel came on the {number}th." for number in range(count)]


def pauses_of(mill: Mill) -> dict[str, Pause]:
    with redis.Redis.from_url(mill.valkey.url) as client:
        return Pauses(client).read(LANES)


def alerts(mill: Mill) -> list[str]:
    """Log lines that say that the low lane was parked."""
    said = mill.log(1).read_text().splitlines()
    return [line for line in said if "event=lane.parked" in line and "lane=docmill.low " in line]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mill]:
    with Mill(tmp_path_factory.mktemp("lanes"), settings={"longest_pause_s": PAUSE_S}) as shared:
        shared.start_worker()
        yield shared


@pytest.fixture
def mill(running: Mill) -> Iterator[Mill]:
    """The one that the tests of this module share, with every lane open and nothing on the bill."""
    running.simulator.reset()
    yield running
    running.simulator.configure(faults={})
    with redis.Redis.from_url(running.valkey.url) as client:
        client.delete(*(Keys().paused(lane) for lane in LANES))


@pytest.mark.parametrize(
    ("kind", "fault", "lanes"),
    [
        ("401", "Unauthorized", set(LANES)),
        ("402", "BillingStopped", set(LANES)),
        ("spend_cap", "SpendCap", set(LANES)),
        ("404", "UnknownModel", {"docmill.low", "docmill.medium"}),
    ],
)
def test_jobs_wait_in_stopped_lanes_and_lose_nothing(mill: Mill, kind: str, fault: str, lanes: set[str]) -> None:
    alerts_before = len(alerts(mill))
    mill.simulator.configure(faults={kind: 1.0})
    receipt = mill.submit(letters(400, kind))
    mill.until(lambda: bool(pauses_of(mill)), "the lane is paused")
    stopped = pauses_of(mill)
    assert {(lane, pause.fault) for lane, pause in stopped.items()} == {(lane, fault) for lane in lanes}
    over = stopped["docmill.low"].since.timestamp() + PAUSE_S
    mill.until(lambda: mill.simulator.rows()[-1]["at"] > over, "the lane was tried again")
    rejected = len(mill.simulator.rows())
    assert rejected <= LOW_SLOTS + 5
    mill.simulator.configure(faults={})
    results = mill.finish(receipt)
    assert Counter(result.state for result in results) == {JobState.DONE: 400}
    assert {result.attempts for result in results} == {1}  # the one that was answered
    assert {result.throttles for result in results} == {0}
    rows = mill.bill()
    assert len([row for row in rows if row["charged"]]) == 400
    assert len(rows) <= 400 + rejected + 5
    mill.until(lambda: "docmill.low" not in pauses_of(mill), "the lane is open")
    assert len(alerts(mill)) == alerts_before + 1
    parked = next(result for result in results if result.spent.calls > 1)
    told = story(mill.producer.database, parked.job_id)
    assert told is not None
    assert "parked" in [event.kind for event in told.events]


def test_a_rate_limit_stops_the_model_for_as_long_as_asked_and_no_lane(mill: Mill) -> None:
    mill.finish(mill.submit(["The first response tells the limits."]))
    with redis.Redis.from_url(mill.valkey.url) as client:
        mill.until(lambda: any(any(known.limits) for known in read_limits(client)), "the limits are known")
    mill.simulator.reset()
    first = mill.submit(["{{sim:429:3x1}} a letter"])
    mill.until(lambda: mill.states(first) == {JobState.WAITING: 1}, "the job waits")
    assert pauses_of(mill) == {}
    later = mill.submit(letters(20, "later"))
    high = mill.submit(letters(5, "high"), complexity=Complexity.HIGH)
    assert {result.model for result in mill.finish(high)} == {"claude-sonnet-4-6"}
    (result,) = mill.finish(first)
    mill.finish(later)
    assert (result.state, result.attempts, result.throttles) == (JobState.DONE, 1, 1)
    limited, *others = [row for row in mill.bill() if row["model"] != "claude-sonnet-4-6"]
    assert limited["outcome"] == "error:429"
    assert min(row["at"] for row in others) - limited["at"] >= 3


def test_a_model_of_the_submitters_own_waits_without_stopping_others(mill: Mill) -> None:
    own = mill.submit(["{{sim:404x2}} a letter"], model="claude-opus-5-5")
    (result,) = mill.finish(own)
    assert (result.state, result.spent.calls) == (JobState.DONE, 3)
    assert pauses_of(mill) == {}


def test_a_cut_answer_is_asked_again_with_twice_the_room(mill: Mill) -> None:
    receipt = mill.submit(["{{sim:truncatedx1}} a letter", "{{sim:truncated}} a letter", "{{sim:bad_pdfx1}} scan"])
    once, twice, scan = mill.finish(receipt)
    assert [once.state, twice.state, scan.state] == [JobState.DONE, JobState.DEAD, JobState.DONE]
    for result in (once, twice):
        told = story(mill.producer.database, result.job_id)
        assert told is not None
        first, second = told.calls
        assert second.max_tokens == 2 * first.max_tokens


def test_a_storm_stops_the_lane(mill: Mill) -> None:
    """The last of the module: its documents wait for longer than a test."""
    mill.simulator.configure(faults={"529": 1.0})
    mill.submit(letters(STORM_CALLS, "storm"))  # no more: a second storm would make the pause longer
    mill.until(lambda: bool(pauses_of(mill)), "the lane is paused")
    pause = pauses_of(mill)["docmill.low"]
    assert pause.fault == "Overloaded"
    assert pause.until is not None
    assert 5 <= (pause.until - pause.since).total_seconds() <= 10
