"""When a job is tried again, and when it is given up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.model import fault as faults
from tasks.model.fault import Fault
from tasks.model.verdict import Bury, RetryIn, Verdict
from tasks.rules.verdict import LONGEST_WAIT_S, cap_s, judge, wait_s

draws = st.floats(0, 1, exclude_max=True)


def judged(fault: Fault, *, attempt: int = 0, throttles: int = 0, draw: float = 0.5) -> Verdict:
    return judge(fault, attempt=attempt, throttles=throttles, max_attempts=5, max_throttles=200, draw=draw)


@pytest.mark.parametrize(("failures", "cap"), [(1, 2), (2, 4), (3, 8), (20, 300), (5_000, 300)])
def test_waits_double_up_to_the_cap(failures: int, cap: float) -> None:
    assert cap_s(failures) == cap


@given(failures=st.integers(1, 10_000), draw=draws)
def test_a_wait_stays_within_its_cap(failures: int, draw: float) -> None:
    assert 0 <= wait_s(failures, None, draw) < min(LONGEST_WAIT_S, cap_s(failures)) + 1e-9


@given(asked=st.floats(0, 100_000), failures=st.integers(1, 100), draw=draws)
def test_we_never_come_back_sooner_than_the_server_asked(asked: float, failures: int, draw: float) -> None:
    assert wait_s(failures, asked, draw) >= asked


@pytest.mark.parametrize("kind", [faults.ServerFailed, faults.Interrupted, faults.BadOutput])
def test_a_transient_fault_counts_and_ends_after_max_attempts(kind: type[Fault]) -> None:
    first = judged(kind("x"))
    assert isinstance(first, RetryIn)
    assert first.counts
    assert isinstance(judged(kind("x"), attempt=3), RetryIn)
    assert isinstance(judged(kind("x"), attempt=4), Bury)


def test_a_second_silence_is_the_last() -> None:
    assert isinstance(judged(faults.TimedOut("x")), RetryIn)
    assert isinstance(judged(faults.TimedOut("x"), attempt=1), Bury)


@pytest.mark.parametrize("kind", [faults.RateLimited, faults.Overloaded, faults.Unreachable])
def test_being_told_to_wait_is_not_a_try(kind: type[Fault]) -> None:
    verdict = judged(kind("x", retry_after_s=7), attempt=4)
    assert isinstance(verdict, RetryIn)
    assert not verdict.counts
    assert verdict.seconds >= 7
    assert isinstance(judged(kind("x"), throttles=199), Bury)


@pytest.mark.parametrize("kind", [faults.SpendCap, faults.BillingStopped, faults.Unauthorized, faults.UnknownModel])
@given(throttles=st.integers(0, 10_000))
def test_a_job_never_dies_of_a_block(kind: type[Fault], throttles: int) -> None:
    verdict = judged(kind("x"), attempt=4, throttles=throttles)
    assert isinstance(verdict, RetryIn)
    assert not verdict.counts


@pytest.mark.parametrize(
    "kind",
    [faults.Rejected, faults.TooLong, faults.Refused, faults.Truncated, faults.EmptyDocument, faults.Broken],
)
def test_what_would_fail_again_the_same_way_is_dead_at_once(kind: type[Fault]) -> None:
    assert isinstance(judged(kind("x")), Bury)
