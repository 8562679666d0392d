"""The parts that only compute."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils import json as kombu_json

from workers.transport.errors import Malformed
from workers.transport.held import Held
from workers.transport.keys import Keys, lane_of, unwrap
from workers.transport.lanes import LaneLimits
from workers.transport.wire import Payload, decode, redelivered, without_delay

lanes = st.text(min_size=1, max_size=20)
steps = st.sets(st.integers(0, 9)).map(lambda some: tuple(sorted(some | {0})))


@given(steps, st.integers(0, 9))
def test_a_priority_goes_to_the_step_below_it(some: tuple[int, ...], priority: int) -> None:
    assert Keys(steps=some).step(priority) == max(step for step in some if step <= priority)


@given(st.lists(lanes, unique=True), steps)
def test_no_two_lanes_share_a_key(names: list[str], some: tuple[int, ...]) -> None:
    names = [name for name in names if "\x06" not in name and ":" not in name]
    keys = [key for name in names for key in Keys(steps=some).of_lane(name)]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("bad", [(), (1, 2), (0, 10), (3, 0), (0, 0)])
def test_priority_steps_that_cannot_work_are_refused(bad: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="priority_steps"):
        Keys(steps=bad)


@given(lanes, st.binary())
def test_a_message_comes_out_of_its_unacked_entry_as_it_went_in(lane: str, item: bytes) -> None:
    entry = b"[" + item + f', "", {json.dumps(lane)}]'.encode()
    assert unwrap(entry, lane) == item


@given(lanes)
def test_a_tag_tells_its_lane_and_its_process(lane: str) -> None:
    ours, other = Held(), Held()
    tag = f"{lane}/{ours.next_ticket()}1"
    assert lane_of(tag) == lane
    assert ours.is_ours(tag)
    assert not other.is_ours(tag)


@given(st.lists(st.sampled_from(["a/1", "a/2", "b/1"]), unique=True), st.lists(st.sampled_from(["a/1", "b/1", "c/9"])))
def test_held_counts_by_lane_what_is_not_settled(added: list[str], settled: list[str]) -> None:
    held = Held()
    held.add(added)
    held.settle(settled)
    left = set(added) - set(settled)
    assert held.tags == left
    assert {lane: n for lane, n in held.by_lane.items() if n} == {
        lane: n for lane in "ab" if (n := sum(tag.startswith(lane) for tag in left))
    }


@given(st.integers(0, 50), st.integers(0, 50), st.none() | st.integers(0, 50))
def test_room_never_exceeds_limit_or_credit(held: int, credit: int, limit: int | None) -> None:
    limits = LaneLimits()
    limits.set("lane", limit)
    room = limits.room("lane", held=held, credit=credit)
    assert room == (credit if limit is None else max(0, min(credit, limit - held)))
    limits.pause("lane")
    assert limits.room("lane", held=held, credit=credit) == 0
    limits.resume("lane")
    assert limits.room("lane", held=held, credit=credit) == room


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"lane limit of 'a' is -1"):
        LaneLimits({"a": -1})


zones = st.integers(-23, 23).map(lambda hours: timezone(timedelta(hours=hours)))
now = datetime(2026, 1, 1, tzinfo=UTC)


@given(st.floats(-1e6, 1e6), zones)
def test_a_delay_is_never_shorter_than_asked_for(seconds: float, zone: timezone) -> None:
    eta = (now + timedelta(seconds=seconds)).astimezone(zone)
    message = {"headers": {"eta": eta.isoformat(), "task": "t"}}
    stored, delay_s = without_delay(message, now_s=now.timestamp())
    assert delay_s >= max(0, (eta - now).total_seconds()) - 1e-6
    assert delay_s <= max(0, (eta - now).total_seconds()) + 0.0011
    assert stored["headers"] == {"eta": None, "task": "t"}
    assert message["headers"]["eta"] == eta.isoformat()


@pytest.mark.parametrize("eta", [None, "soon", 17, "2026-01-01T00:00:00"])
def test_what_is_no_time_with_a_zone_is_left_to_the_worker(eta: object) -> None:
    message = {"headers": {"eta": eta}}
    assert without_delay(message, now_s=0) == (message, 0)


@given(
    st.binary()
    | st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["properties", "headers", "delivery_info", "body"]), inner)
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_anything_at_all_is_a_message_or_malformed(item: bytes) -> None:
    try:
        payload = decode(item)
    except Malformed:
        return
    assert json.loads(redelivered(payload))["headers"]["redelivered"] is True


MOMENT = datetime(2026, 11, 28, 12, tzinfo=UTC)
header_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.just(MOMENT),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


@given(st.dictionaries(st.text(max_size=9), header_values, max_size=5))
def test_a_message_is_read_as_kombu_reads_it(headers: Payload) -> None:
    item = kombu_json.dumps({"headers": headers, "properties": {"delivery_info": {}}}).encode()
    assert decode(item) == kombu_json.loads(item)


def test_what_the_faster_parser_refuses_is_left_to_kombus() -> None:
    lone_surrogate = "\ud800"
    item = kombu_json.dumps({"headers": {"name": lone_surrogate}, "properties": {"delivery_info": {}}}).encode()
    assert decode(item)["headers"]["name"] == lone_surrogate
