"""Usage adds up, and the bill is exact to the nano-dollar."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.simulator.bill import Bill
from scripts.simulator.models import BY_NAME, MODELS
from scripts.simulator.usage import Usage, cost_nanousd

counts = st.integers(0, 2_000_000)
usages = st.builds(Usage, counts, counts, counts, counts, counts)


@pytest.mark.parametrize(
    ("model", "usage", "nanousd"),
    [  # worked out by hand from USD per million tokens
        ("claude-haiku-4-5", Usage(1_000_000, 0, 0, 0, 0), 1_000_000_000),
        ("claude-haiku-4-5", Usage(0, 0, 0, 0, 1_000_000), 5_000_000_000),
        ("claude-haiku-4-5", Usage(7, 0, 0, 0, 3), 22_000),
        ("claude-sonnet-4-6", Usage(1, 1, 1, 1, 1), 3_000 + 3_750 + 6_000 + 300 + 15_000),
        ("claude-sonnet-5-5", Usage(0, 0, 0, 1_000_000, 0), 100_000_000),
        ("claude-haiku-5-5", Usage(100_000, 0, 0, 0, 1_000), 10_000_000 + 500_000),
        ("claude-haiku-5-5", Usage(1, 0, 0, 100_000, 1_000), 500 + 5_000_000 + 2_500_000),
        ("claude-opus-5-5", Usage(0, 1_000, 1_000, 1_000, 0), 5_000_000 + 8_000_000 + 200_000),
    ],
)
def test_prices(model: str, usage: Usage, nanousd: int) -> None:
    assert cost_nanousd(BY_NAME[model], usage) == nanousd


@given(st.sampled_from(MODELS), usages)
def test_a_cost_is_a_whole_number_and_inference_in_the_us_costs_a_tenth_more(model: object, usage: Usage) -> None:
    assert isinstance(model, type(MODELS[0]))
    world, us = cost_nanousd(model, usage), cost_nanousd(model, usage, geo="us")
    assert isinstance(world, int)
    assert abs(us * 10 - world * 11) <= 5


@given(st.lists(st.tuples(st.sampled_from(MODELS), usages, st.booleans()), max_size=20))
def test_totals_are_the_sum_of_the_charged_rows(calls: list[tuple[object, Usage, bool]]) -> None:
    bill = Bill()
    for model, usage, charged in calls:
        assert isinstance(model, type(MODELS[0]))
        cost = cost_nanousd(model, usage)
        row = bill.open(1.0)
        bill.close(row, bill.run, now=2.0, outcome="x", model=model.id, charged=charged, usage=usage, nanousd=cost)
    totals, rows = bill.totals(), list(bill.rows())
    assert totals["requests"] == len(rows) == len(calls)
    assert totals["nanousd"] == sum(row["nanousd"] for row in rows)
    assert totals["nanousd"] == sum(model["nanousd"] for model in totals["by_model"].values())
    for name in ("input_tokens", "cache_creation_5m_tokens", "cache_creation_1h_tokens", "output_tokens"):
        assert totals[name] == sum(row["usage"][name] for row in rows)
    assert all(row["nanousd"] == 0 for row in rows if not row["charged"])


def test_a_row_is_closed_once_and_never_after_a_reset() -> None:
    bill = Bill()
    run, row = bill.run, bill.open(1.0)
    assert bill.totals()["in_flight"] == 1
    bill.close(row, run, now=1.5, outcome="delivered", model="m", charged=True, nanousd=7)
    bill.close(row, run, now=1.6, outcome="delivered", model="m", charged=True, nanousd=7)
    assert bill.totals()["nanousd"] == 7
    late = bill.open(2.0)
    bill.clear()
    bill.open(3.0)
    bill.close(late, run, now=3.5, outcome="delivered", model="m", charged=True, nanousd=7)
    assert (bill.totals()["nanousd"], bill.totals()["in_flight"]) == (0, 1)


def test_rows_are_small_and_pages_fit_together() -> None:
    bill = Bill()
    for number in range(1_000):
        bill.close(bill.open(number), bill.run, now=number, outcome="delivered", document=f"d{number % 10}")
    assert len(bill._rows) / len(bill) < 100
    pages = [row["request_id"] for first in (0, 400, 800) for row in bill.rows(first, 400)]
    assert pages == [bill.request_id(row) for row in range(1_000)]
    assert len(set(pages)) == 1_000
