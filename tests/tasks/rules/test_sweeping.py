"""How many messages the broker has lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.model.standing import Held, Standing
from tasks.rules.sweeping import lost_messages

counts = st.integers(0, 1_000_000)


@pytest.mark.parametrize(
    ("standing", "held", "lost"),
    [
        (Standing(waiting=5), Held(in_line=5), 0),
        (Standing(waiting=5), Held(in_line=3), 2),
        (Standing(waiting=5), Held(in_line=8), 0),  # a message too many is dropped by the claim
        (Standing(waiting=5, running=2), Held(in_line=3, unacked=4), 0),  # two are about to be claimed
        (Standing(waiting=5, running=2), Held(in_line=3, unacked=2), 2),
        (Standing(waiting=5, running=9), Held(in_line=5, unacked=0), 0),
        (Standing(running=7), Held(), 0),
    ],
)
def test_what_the_ledger_believes_and_the_broker_has_not(standing: Standing, held: Held, lost: int) -> None:
    assert lost_messages({"q": standing}, {"q": held}, {"q": held}).get("q", 0) == lost


def test_a_broker_that_knows_nothing_of_a_queue_has_lost_all_of_it() -> None:
    assert lost_messages({"q": Standing(waiting=3)}, {}, {}) == {"q": 3}


@given(waiting=counts, running=counts, in_line=counts, moved=st.integers(0, 100))
def test_a_message_that_moves_while_we_count_is_not_taken_for_lost(
    waiting: int, running: int, in_line: int, moved: int
) -> None:
    before, after = Held(in_line + moved, running), Held(in_line, running + moved)
    lost = lost_messages({"q": Standing(waiting, running)}, {"q": before}, {"q": after})
    assert lost.get("q", 0) <= max(0, waiting - in_line - moved)
