"""What becomes of a job whose worker died."""

from __future__ import annotations

import itertools
from typing import Literal

import pytest

from tasks.rules.judging import Fate, judge_lost

OnCrash = Literal["hold", "retry"]


@pytest.mark.parametrize(
    ("sent", "on_crash", "crashes", "fate"),
    [
        (False, "hold", 0, Fate.AGAIN),
        (False, "hold", 1, Fate.ALONE),
        (False, "retry", 0, Fate.AGAIN),
        (False, "retry", 1, Fate.ALONE),
        (True, "hold", 0, Fate.UNCERTAIN),
        (True, "hold", 1, Fate.UNCERTAIN),
        (True, "retry", 0, Fate.AGAIN),
        (True, "retry", 1, Fate.ALONE),
    ],
)
def test_the_fate_of_a_lost_job(sent: bool, on_crash: OnCrash, crashes: int, fate: Fate) -> None:
    assert judge_lost(sent=sent, on_crash=on_crash, crashes=crashes) is fate


@pytest.mark.parametrize(
    ("sent", "on_crash", "crashes"), list(itertools.product([False, True], ["hold", "retry"], [2, 3, 100]))
)
def test_the_third_death_is_the_last(sent: bool, on_crash: OnCrash, crashes: int) -> None:
    assert judge_lost(sent=sent, on_crash=on_crash, crashes=crashes) is Fate.DEAD
