"""Which fault a request meets: told by the document's markers, or drawn at a rate."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.simulator.behaviour import Behaviour
from scripts.simulator.errors import ApiError
from scripts.simulator.faults import DEFAULT_MIX, ERRORS, KINDS, Fault, FaultPlan, read_markers, read_rates
from scripts.simulator.latency import Latency


@given(st.sampled_from(sorted(KINDS)), st.integers(1, 99), st.text("ab ", max_size=9))
def test_a_counted_marker_fails_that_many_requests_then_none(kind: str, count: int, text: str) -> None:
    markers = read_markers(f"{text}{{{{sim:{kind}x{count}}}}}{text}")
    assert [markers.fault(earlier) is not None for earlier in (0, count - 1, count)] == [True, True, False]
    assert markers.fault(0) == Fault(kind)


def test_markers_are_used_up_in_order() -> None:
    markers = read_markers("{{sim:529x2}} and {{sim:429:2.5x1}}")
    assert [markers.fault(n) for n in range(4)] == [Fault("529"), Fault("529"), Fault("429", 2.5), None]


def test_a_marker_without_a_count_never_ends() -> None:
    assert read_markers("{{sim:refusal}}").fault(10**6) == Fault("refusal")


@pytest.mark.parametrize("name", ["a", "invoice-7", "box12", "x3", "a.b_c"])
def test_a_document_can_have_a_name(name: str) -> None:
    markers = read_markers(f"{{{{sim:doc:{name}}}}} {{{{sim:latency:0.5}}}} {{{{sim:tokens:30}}}}")
    assert (markers.document, markers.latency_s, markers.tokens) == (name, 0.5, 30)


@pytest.mark.parametrize(
    "text", ["{{sim:592}}", "{{sim:latency}}", "{{sim:tokens:many}}", "{{sim:529:soon}}", "{{sim:529 x2}}", "{{sim:529"]
)
def test_a_marker_that_says_nothing_known_is_a_clear_error(text: str) -> None:
    with pytest.raises(ApiError, match="marker"):
        read_markers(text)


def test_every_kind_of_error_has_a_status_and_says_whether_to_come_back() -> None:
    for kind, error in ERRORS.items():
        assert 400 <= error(None).status <= 529
        assert (error(3).retry_after_s == 3) == (kind in {"429", "ramp"})


def test_the_default_mix_is_never_charged() -> None:
    assert set(DEFAULT_MIX) <= set(ERRORS)
    assert sum(read_rates(0.07).values()) == pytest.approx(0.07)


def test_a_rate_holds_and_does_not_depend_on_the_order_of_arrival() -> None:
    documents = [f"doc-{number}" for number in range(5_000)]

    def faults(order: list[str]) -> dict[str, Fault | None]:
        plan = FaultPlan(seed=3)
        plan.rates = read_rates({"529": 0.05, "cut": 0.02})
        return {document: plan.next(document, read_markers("")) for document in order}

    drawn = faults(documents)
    assert drawn == faults(documents[::-1])
    seen = Counter(fault.kind for fault in drawn.values() if fault)
    assert 200 < seen["529"] < 300
    assert 70 < seen["cut"] < 135


def test_another_attempt_at_the_same_document_draws_anew() -> None:
    plan = FaultPlan(seed=1)
    plan.rates = {"500": 0.5}
    assert len({plan.next("same", read_markers("")) for _ in range(50)}) == 2


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"faults": 1.5}, "at most 1"),
        ({"faults": {"529": -1}}, "at least 0"),
        ({"faults": {"five": 0.1}}, "unknown fault"),
        ({"latency": "slow"}, "latency 'slow'"),
        ({"latency": "uniform:1"}, "latency"),
        ({"latency": "fixed:-1"}, "latency"),
        ({"tokens_per_s": 0}, "tokens_per_s"),
        ({"colour": 1}, "unknown setting"),
        ({"faults": "many"}, "many"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(settings: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Behaviour().changed(settings)


@given(st.floats(0.001, 0.999))
def test_latencies_lie_where_they_are_told_to(uniform: float) -> None:
    assert Latency.read("2").at(uniform) == Latency.read("fixed:2").at(uniform) == 2
    assert 1 <= Latency.read("uniform:1,3").at(uniform) <= 3
    assert (Latency.read("lognormal:2,0.5").at(uniform) < 2) == (uniform < 0.5)
