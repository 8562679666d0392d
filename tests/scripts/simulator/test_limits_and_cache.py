"""Rate limits let in what their buckets hold; a prompt's cached part, its new part and the rest make up the whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.simulator.buckets import Limits, ModelBuckets, RateLimits, read_limits
from scripts.simulator.models import BY_NAME
from scripts.simulator.prompt_cache import Block, PromptCache
from scripts.simulator.requests import read_message
from tests.scripts.simulator.bodies import SONNET, raw

HAIKU = BY_NAME["claude-haiku-4-5"]
SIZES = {"a": 0, "b": 900, "c": 5_000}  # the same content always has the same size
blocks = st.lists(
    st.builds(
        lambda content, ttl: Block(content, SIZES[content], ttl),
        st.sampled_from(sorted(SIZES)),
        st.sampled_from([None, None, "5m", "1h"]),
    ),
    min_size=1,
    max_size=8,
)


@given(st.lists(st.tuples(blocks, st.floats(0, 400)), max_size=8))
def test_cached_new_and_plain_tokens_make_up_the_prompt(prompts: list[tuple[list[Block], float]]) -> None:
    cache, now = PromptCache(), 0.0
    for prompt, later_s in prompts:
        now += later_s
        share = cache.share(HAIKU, prompt, now=now, ready_at=now)
        assert min(share) >= 0
        assert sum(share) <= sum(block.tokens for block in prompt)
        assert sum(share) == 0 or sum(share) >= HAIKU.cache_floor_tokens


def prefix(tokens: int, ttl: str | None = "5m") -> list[Block]:
    return [Block("system", tokens, ttl), Block("question", 100)]


def test_a_prefix_is_written_once_then_read_until_it_expires() -> None:
    cache = PromptCache()
    assert cache.share(HAIKU, prefix(5_000), now=0, ready_at=2) == (5_000, 0, 0)
    assert cache.share(HAIKU, prefix(5_000), now=1, ready_at=3) == (5_000, 0, 0)  # not readable before an answer begins
    assert cache.share(HAIKU, prefix(5_000), now=2, ready_at=2) == (0, 0, 5_000)
    assert cache.share(HAIKU, prefix(5_000), now=301, ready_at=301) == (0, 0, 5_000)  # a read renews it
    assert cache.share(HAIKU, prefix(5_000), now=700, ready_at=700) == (5_000, 0, 0)


def test_a_prefix_below_the_models_floor_is_not_cached() -> None:
    assert sum(PromptCache().share(HAIKU, prefix(4_095), now=0, ready_at=0)) == 0


def test_a_longer_prompt_pays_for_what_it_adds_in_its_own_ttl() -> None:
    cache = PromptCache()
    cache.share(HAIKU, prefix(5_000, "1h"), now=0, ready_at=0)
    longer = [Block("system", 5_000, "1h"), Block("document", 3_000, "5m")]
    assert cache.share(HAIKU, longer, now=1, ready_at=1) == (3_000, 0, 5_000)


def test_a_bucket_lets_in_its_burst_then_one_per_refill() -> None:
    buckets = ModelBuckets(Limits(rpm=60, burst_s=2), now=0)
    for _ in range(2):
        assert buckets.wait_s(10, 0) == 0
        buckets.take(10, 10)
    assert buckets.wait_s(10, 0) == pytest.approx(1)
    assert buckets.wait_s(10, 1) == 0


@given(st.lists(st.tuples(st.integers(1, 5_000), st.floats(0, 20)), max_size=30))
def test_no_more_is_let_in_than_the_burst_and_the_refill(requests: list[tuple[int, float]]) -> None:
    limits = Limits(itpm=6_000, burst_s=60)
    buckets, now, let_in, largest = ModelBuckets(limits, now=0), 0.0, 0, 0
    for size, later_s in requests:
        now += later_s
        if buckets.wait_s(size, now) == 0:
            buckets.take(size, 1)
            let_in += size
            largest = max(largest, size)
    assert let_in <= 6_000 + now * 100 + largest


def test_headers_tell_limit_remaining_and_full_refill() -> None:
    buckets = ModelBuckets(Limits(rpm=60, itpm=60_000, otpm=6_000), now=1_000_000_000)
    buckets.take(30_400, 100)
    headers = buckets.headers()
    assert headers["anthropic-ratelimit-requests-remaining"] == "59"
    assert headers["anthropic-ratelimit-input-tokens-limit"] == "60000"
    assert headers["anthropic-ratelimit-input-tokens-remaining"] == "30000"
    assert headers["anthropic-ratelimit-input-tokens-reset"] == "2001-09-09T01:47:11Z"
    assert headers["anthropic-ratelimit-tokens-limit"] == "60000"  # the tightest of the two


def test_what_somebody_else_takes_is_missing_and_the_headers_do_not_say_so() -> None:
    buckets = ModelBuckets(Limits(rpm=60, burst_s=1, taken=0.5), now=0)
    buckets.take(0, 0)
    assert buckets.wait_s(0, 0) == pytest.approx(2)
    assert buckets.headers()["anthropic-ratelimit-requests-limit"] == "60"


def test_headers_can_be_left_out() -> None:
    assert ModelBuckets(Limits(headers=0), now=0).headers() == {}


def test_limits_are_a_models_own_else_those_for_all() -> None:
    limits = RateLimits(read_limits({"*": {"rpm": 5}, "claude-sonnet-4-6": {"rpm": 7}}))
    assert limits.of("claude-sonnet-4-6", 0).requests.limit == 7
    assert limits.of(HAIKU.id, 0).requests.limit == 5


@pytest.mark.parametrize(
    "limits", [{"rpm": 0}, {"taken": 1}, {"headers": 2}, {"rpx": 1}, {"itpm": float("nan")}], ids=str
)
def test_a_limit_that_is_none_is_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="limit"):
        read_limits({"*": limits})


def test_defaults_hold_where_a_request_leaves_them_out() -> None:
    defaults = {"inference_geo": "us", "cache_control": {"type": "ephemeral"}}
    sonnet = read_message(raw(model=SONNET), defaults)
    assert (sonnet.geo, [block.ttl for block in sonnet.blocks]) == ("us", ["5m"])
    assert read_message(raw(model=SONNET, inference_geo="global"), defaults).geo == "global"
    assert read_message(raw(), defaults).geo == "not_available"  # a model without a choice
