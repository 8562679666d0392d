"""Faults may be logged, pickled and stored."""

from __future__ import annotations

import pickle

import pytest

from tasks.model import fault as faults

EVERY = [kind for kind in vars(faults).values() if isinstance(kind, type) and issubclass(kind, faults.Fault)]


@pytest.mark.parametrize("kind", EVERY)
def test_a_fault_survives_a_pickle(kind: type[faults.Fault]) -> None:
    fault = kind("429", status=429, code="rate_limit_error", request_id="req_1", retry_after_s=2.5)
    again = pickle.loads(pickle.dumps(fault))  # noqa: S301 - what Celery does with an exception
    assert type(again) is kind
    assert vars(again) == vars(fault)
    assert str(again) == "429"


@pytest.mark.parametrize("kind", [kind for kind in EVERY if not kind.__subclasses__()])
def test_every_leaf_is_sorted_by_what_we_can_do(kind: type[faults.Fault]) -> None:
    sorts = [faults.Transient, faults.Throttled, faults.Blocked, faults.Permanent]
    assert sum(issubclass(kind, sort) for sort in sorts) == 1
