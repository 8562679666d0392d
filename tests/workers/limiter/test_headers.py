"""What responses say of rate limits, and what they do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.rules.limiting import Amounts
from workers.limiter.bucket import NOT_SAID
from workers.limiter.headers import read_headers


def test_limits_and_what_is_left_of_them() -> None:
    said = {
        "anthropic-ratelimit-requests-limit": "1000",
        "anthropic-ratelimit-requests-remaining": "7",
        "anthropic-ratelimit-input-tokens-limit": "2000000",
        "anthropic-ratelimit-input-tokens-remaining": "3000",
        "anthropic-ratelimit-output-tokens-limit": "400000",
        "anthropic-ratelimit-output-tokens-remaining": "0",
    }
    limits, remaining = read_headers(said)
    assert limits == Amounts(1_000, 2_000_000, 400_000)
    assert remaining == Amounts(7, 3_500, 500)  # tokens are told in thousands


def test_nothing_said_is_nothing_known() -> None:
    assert read_headers({}) == (Amounts(), NOT_SAID)


@pytest.mark.parametrize("kind", ["limit", "remaining"])
@given(said=st.text())
def test_nonsense_does_no_harm(kind: str, said: str) -> None:
    read_headers({f"anthropic-ratelimit-requests-{kind}": said})


@pytest.mark.parametrize("said", ["nan", "inf", "-5", "", "many"])
def test_a_limit_that_is_no_number_is_not_known(said: str) -> None:
    limits, remaining = read_headers(
        {
            "anthropic-ratelimit-requests-limit": said,
            "anthropic-ratelimit-requests-remaining": said,
        }
    )
    assert (limits, remaining) == (Amounts(), NOT_SAID)
