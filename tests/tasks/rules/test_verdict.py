"""The retry table: what is a try, what is told to wait, what stops a lane, what is dead at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.model import fault as faults
from tasks.model.fault import Fault
from tasks.model.verdict import Bury, Park, RetryIn, Verdict
from tasks.rules.verdict import LONGEST_WAIT_S, Bounds, block_pause_s, cap_s, judge, rate_pause_s, wait_s
from tests.values import a_job

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
BOUNDS = Bounds(max_attempts=5, max_throttles=200, longest_pause_s=3600)

draws = st.floats(0, 1, exclude_max=True)
asked_waits = st.none() | st.floats(0, 100_000)
LEAVES = [
    kind
    for kind in vars(faults).values()
    if isinstance(kind, type) and issubclass(kind, Fault) and not kind.__subclasses__()
]
BLOCKS = [kind for kind in LEAVES if issubclass(kind, faults.Blocked)]
every_fault = st.builds(
    lambda kind, wait, code: kind("x", retry_after_s=wait, code=code),
    st.sampled_from(LEAVES),
    asked_waits,
    st.sampled_from([None, "ramp_limit_exceeded"]),
)
jobs = st.builds(
    lambda attempt, throttles, past: a_job(attempt=attempt, throttles=throttles, faults=past),
    st.integers(0, 10),
    st.integers(0, 300),
    st.dictionaries(st.sampled_from([kind.__name__ for kind in LEAVES]), st.integers(1, 50)),
)


def judged(fault: Fault, *, draw: float = 0.5, storm: bool = False, **job: Any) -> Verdict:
    return judge(fault, a_job(**job), BOUNDS, storm=storm, now=NOW, draw=draw)


@pytest.mark.parametrize(("failures", "cap"), [(1, 2), (2, 4), (3, 8), (20, 300), (5_000, 300)])
def test_waits_double_up_to_the_cap(failures: int, cap: float) -> None:
    assert cap_s(failures) == cap


@given(failures=st.integers(1, 10_000), draw=draws)
def test_a_wait_stays_within_its_cap(failures: int, draw: float) -> None:
    assert 0 <= wait_s(failures, None, draw) < min(LONGEST_WAIT_S, cap_s(failures)) + 1e-9


@given(fault=every_fault, job=jobs, storm=st.booleans(), draw=draws)
def test_we_never_come_back_sooner_than_the_server_asked(fault: Fault, job: Any, storm: bool, draw: float) -> None:
    verdict = judge(fault, job, BOUNDS, storm=storm, now=NOW, draw=draw)
    if isinstance(fault, faults.PoolFull | faults.Blocked) or isinstance(verdict, Bury):
        return  # the server said nothing, or has named a date, before which a look now and then does no harm
    assert isinstance(verdict, RetryIn | Park)
    assert verdict.seconds >= (fault.retry_after_s or 0)


@given(fault=every_fault, job=jobs, storm=st.booleans(), draw=draws)
def test_only_a_transient_fault_is_a_try(fault: Fault, job: Any, storm: bool, draw: float) -> None:
    verdict = judge(fault, job, BOUNDS, storm=storm, now=NOW, draw=draw)
    counts = isinstance(verdict, RetryIn) and verdict.counts
    assert counts == (isinstance(fault, faults.Transient) and not isinstance(verdict, Bury))


@given(fault=every_fault, job=jobs, storm=st.booleans(), draw=draws)
def test_nothing_goes_on_for_ever_but_a_block(fault: Fault, job: Any, storm: bool, draw: float) -> None:
    verdict = judge(fault, job, BOUNDS, storm=storm, now=NOW, draw=draw)
    if isinstance(fault, faults.Blocked):
        assert isinstance(verdict, Park)
    elif isinstance(fault, faults.NoRoom):
        assert isinstance(verdict, RetryIn)
    elif isinstance(fault, faults.Throttled):
        assert isinstance(verdict, Bury) == (job.throttles + 1 >= BOUNDS.max_throttles)
    elif job.attempt + 1 >= BOUNDS.max_attempts:
        assert isinstance(verdict, Bury)


@pytest.mark.parametrize("kind", [faults.ServerFailed, faults.Interrupted])
def test_a_transient_fault_ends_after_max_attempts(kind: type[Fault]) -> None:
    assert isinstance(judged(kind("x"), attempt=3, faults={kind.__name__: 3}), RetryIn)
    assert isinstance(judged(kind("x"), attempt=4, faults={kind.__name__: 4}), Bury)


@pytest.mark.parametrize("kind", [faults.TimedOut, faults.Truncated, faults.BadOutput, faults.PdfFailed])
def test_some_faults_are_worth_one_more_try_only(kind: type[Fault]) -> None:
    assert isinstance(judged(kind("x")), RetryIn)
    assert isinstance(judged(kind("x"), attempt=1, faults={"ServerFailed": 1}), RetryIn)
    assert isinstance(judged(kind("x"), attempt=1, faults={kind.__name__: 1}), Bury)


@pytest.mark.parametrize(
    ("kind", "past", "longest_s"),
    [
        (faults.ServerFailed, {}, 2),
        (faults.ServerFailed, {"ServerFailed": 2}, 8),
        (faults.ServerFailed, {"Overloaded": 9}, 2),
        (faults.Overloaded, {}, 5),
        (faults.Overloaded, {"Overloaded": 3}, 40),
        (faults.Overloaded, {"Overloaded": 99}, 300),
        (faults.Unreachable, {"Overloaded": 3}, 5),
        (faults.PoolFull, {"PoolFull": 9}, 1),
    ],
)
def test_each_kind_of_fault_has_its_own_backoff(kind: type[Fault], past: dict[str, int], longest_s: float) -> None:
    verdict = judged(kind("x"), draw=0.999, faults=past)
    assert isinstance(verdict, RetryIn)
    assert verdict.seconds == pytest.approx(longest_s * 0.999)


@pytest.mark.parametrize(
    ("code", "asked_s", "least_s", "most_s"),
    [
        ("rate_limit_error", 7, 7, 10),
        ("rate_limit_error", None, 5, 8),
        ("ramp_limit_exceeded", None, 60, 63),
        ("ramp_limit_exceeded", 20, 20, 23),
    ],
)
@given(draw=draws)
def test_a_rate_limit_stops_the_lane_for_as_long_as_asked(
    code: str, asked_s: float | None, least_s: float, most_s: float, draw: float
) -> None:
    fault = faults.RateLimited("x", code=code, retry_after_s=asked_s)
    assert least_s <= rate_pause_s(fault, draw) <= most_s
    assert isinstance(judged(fault, attempt=4), Park)


@given(draw=draws)
def test_a_rate_limit_that_is_paced_for_all_stops_no_lane(draw: float) -> None:
    fault = faults.RateLimited("x", retry_after_s=4)
    verdict = judge(fault, a_job(), BOUNDS, storm=False, paced=True, now=NOW, draw=draw)
    assert isinstance(verdict, RetryIn)
    assert 4 <= verdict.seconds <= 7
    assert not verdict.counts
    tired = a_job(throttles=BOUNDS.max_throttles)
    assert isinstance(judge(fault, tired, BOUNDS, storm=False, paced=True, now=NOW, draw=draw), Bury)


def test_a_storm_stops_the_lane_and_one_overload_does_not() -> None:
    assert isinstance(judged(faults.Overloaded("x")), RetryIn)
    verdict = judged(faults.Overloaded("x"), storm=True)
    assert isinstance(verdict, Park)
    assert 5 <= verdict.seconds <= 10
    assert isinstance(judged(faults.ServerFailed("x"), storm=True), RetryIn)


@pytest.mark.parametrize("kind", BLOCKS)
@given(throttles=st.integers(0, 10_000), attempt=st.integers(0, 100))
def test_a_job_never_dies_of_a_block(kind: type[Fault], throttles: int, attempt: int) -> None:
    assert isinstance(judged(kind("x"), attempt=attempt, throttles=throttles), Park)


@pytest.mark.parametrize(
    ("fault", "pause_s"),
    [
        (faults.SpendCap("x"), 3600),
        (faults.SpendCap("x", retry_after_s=90), 90),
        (faults.SpendCap("x", retry_after_s=90_000), 3600),
        (faults.BillingStopped("x"), 900),
        (faults.Unauthorized("x"), 60),
        (faults.Unauthorized("x", retry_after_s=0), 60),
        (faults.UnknownModel("x"), 900),
    ],
)
def test_how_soon_a_blocked_lane_is_tried_again(fault: Fault, pause_s: float) -> None:
    assert block_pause_s(fault, NOW, 3600) == pause_s
    assert block_pause_s(fault, NOW, 5) == 5


@pytest.mark.parametrize("first", [datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)])
def test_a_months_spending_begins_anew_on_the_first(first: datetime) -> None:
    assert block_pause_s(faults.SpendCap("x"), first - timedelta(minutes=20), 3600) == 1200


@pytest.mark.parametrize("kind", [kind for kind in LEAVES if issubclass(kind, faults.Permanent)])
def test_what_would_fail_again_the_same_way_is_dead_at_once(kind: type[Fault]) -> None:
    assert isinstance(judged(kind("x")), Bury)


@pytest.mark.parametrize("kind", [kind for kind in LEAVES if issubclass(kind, faults.Transient | faults.Throttled)])
def test_what_may_have_been_billed_is_known_as_such(kind: type[Fault]) -> None:
    assert kind.possibly_billed == (kind in {faults.Interrupted, faults.TimedOut, faults.WorkerLost})
