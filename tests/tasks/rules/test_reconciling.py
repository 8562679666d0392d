"""The bill against the ledger."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.model.call import Usage
from tasks.rules.billing import BillLine
from tasks.rules.reconciling import Booked, BookedCall, compare, compare_requests

WHERE = "2026-11-22", "claude-haiku-4-5"
USAGE = Usage(input=100, cache_read=7, output=50)
BOOKED = Booked(calls=2, usage=USAGE, cost_nanousd=1_000)
UNKNOWN = replace(BOOKED, unknown_calls=1, unknown_estimate_nanousd=400)
LINE = BillLine("2026-11-22", "Claude Haiku 4.5", USAGE, 1_000)


@pytest.mark.parametrize(
    ("lines", "booked", "tolerance", "agrees", "explained"),
    [
        ([LINE], BOOKED, 0, True, False),
        ([replace(LINE, cost_nanousd=400), replace(LINE, cost_nanousd=600, usage=None)], BOOKED, 0, True, False),
        ([replace(LINE, cost_nanousd=1_001)], BOOKED, 0, False, False),
        ([replace(LINE, cost_nanousd=1_001)], BOOKED, 1, True, False),
        ([replace(LINE, cost_nanousd=1_005, rounding_nanousd=5)], BOOKED, 0, True, False),
        ([replace(LINE, cost_nanousd=1_400)], UNKNOWN, 0, False, True),
        ([replace(LINE, cost_nanousd=1_401)], UNKNOWN, 0, False, False),
        ([replace(LINE, cost_nanousd=900)], UNKNOWN, 0, False, False),
        ([replace(LINE, cost_nanousd=None)], BOOKED, 0, True, False),
        ([replace(LINE, cost_nanousd=None, usage=replace(USAGE, output=51))], BOOKED, 0, False, False),
        ([replace(LINE, usage=None)], BOOKED, 0, True, False),
        ([replace(LINE, usage=replace(USAGE, output=51))], BOOKED, 0, False, False),
        ([replace(LINE, usage=replace(USAGE, output=51))], BOOKED, 1_000, False, False),
        ([replace(LINE, usage=replace(USAGE, output=51))], UNKNOWN, 0, False, True),
        ([replace(LINE, usage=replace(USAGE, output=49))], UNKNOWN, 0, False, False),
        ([replace(LINE, usage=replace(USAGE, output=51), cost_nanousd=1_400)], UNKNOWN, 0, False, True),
        ([replace(LINE, usage=replace(USAGE, output=49), cost_nanousd=1_400)], UNKNOWN, 0, False, False),
        ([replace(LINE, usage=replace(USAGE, output=51), cost_nanousd=1_401)], UNKNOWN, 0, False, False),
        ([], BOOKED, 0, False, False),
    ],
)
def test_they_agree_within_what_is_tolerated(
    lines: list[BillLine], booked: Booked, tolerance: int, agrees: bool, explained: bool
) -> None:
    (compared,) = compare(lines, {WHERE: booked}, tolerance)
    assert (compared.agrees, compared.unknown_may_explain) == (agrees, explained)


def test_what_only_one_side_has_is_compared_too() -> None:
    other = "2026-11-22", "claude-sonnet-4-6"
    here, there = compare([LINE], {other: BOOKED})
    assert (here.difference_nanousd, there.difference_nanousd) == (1_000, -1_000)
    assert dict(there.token_difference) == {"input": -100, "cache_read": -7, "output": -50}


ids = st.sets(st.sampled_from([f"req_{number}" for number in range(8)]))


@given(ids, ids, ids)
def test_every_request_and_every_call_is_in_one_heap(billed: set[str], answered: set[str], odd: set[str]) -> None:
    lines = [replace(LINE, request_id=name) for name in sorted(billed)]
    calls = [BookedCall(f"call-{name}", name, USAGE, 999 if name in odd else 1_000) for name in sorted(answered)]
    found = compare_requests(lines, calls)
    assert found.equal == len(billed & answered - odd)
    assert {line.request_id for line, _ in found.different} == billed & answered & odd
    assert {line.request_id for line in found.unbooked} == billed - answered
    assert {call.request_id for call in found.unbilled} == answered - billed
