"""One process's account with a bucket: what goes at once, what waits, and what becomes of those that do."""

from __future__ import annotations

import asyncio

import pytest

from tasks.rules.limiting import NOTHING, Amounts, Pace
from workers.limiter.account import FASTER_EACH_S, FIRST_CALLS, Account
from workers.limiter.bucket import NOT_SAID, Said, Word
from workers.limiter.turns import Turn

PACE = Pace(share=1, burst_s=1, slow_start=1)
LIMITS = Amounts(6_000, 600_000, 60_000)
ONE = Amounts(1, 100, 10)


def an_account(ceiling: Amounts = NOTHING) -> Account:
    return Account("key:class", "process", ceiling, PACE)


A_LONG_QUEUE = Amounts(-1e9, -1e9, -1e9)


def said(
    *waits_s: float,
    level: Amounts = A_LONG_QUEUE,
    pause_s: float = 0,
    processes: int = 1,
    limits: Amounts = LIMITS,
    factor: float = 1.0,
) -> Said:
    return Said(limits, factor, 1.0, pause_s, level, 60, processes, waits_s)


def now() -> float:
    return asyncio.get_running_loop().time()


def tell(account: Account, answer: Said) -> Word:
    word, turns = account.word(now())
    account.heard(answer, turns, now())
    return word


def used(account: Account) -> Amounts:
    return account.word(now())[0].used


async def outcome(turn: Turn) -> float | None:
    return await asyncio.wait_for(turn.future, 5)


async def test_nothing_goes_before_the_first_word() -> None:
    assert not an_account().takes(100, 10, now())


async def test_without_limits_everything_goes_at_once() -> None:
    account = an_account()
    account.observe(NOTHING, NOT_SAID)
    tell(account, said(limits=NOTHING))
    assert all(account.takes(1e9, 1e9, now()) for _ in range(1_000))


async def test_before_the_first_response_only_a_few_go_and_soon_more() -> None:
    account = an_account()
    tell(account, said(limits=NOTHING, processes=2))
    turns = [account.wait(ONE) for _ in range(100)]
    first, asking = account.word(now())
    assert len(first.asked) == FIRST_CALLS / 2
    account.heard(said(*[0] * len(asking), limits=NOTHING, processes=2), asking, now())
    later, _ = account.word(now() + 1)
    assert len(later.asked) == pytest.approx(FIRST_CALLS / 2 * FASTER_EACH_S - FIRST_CALLS / 2, abs=1)
    account.observe(NOTHING, NOT_SAID)
    rest, _ = account.word(now())
    assert len(first.asked) + len(later.asked) + len(rest.asked) == len(turns)


async def test_of_a_full_bucket_a_process_takes_its_part_of_the_upper_half() -> None:
    account = an_account()
    tell(account, said(level=Amounts(100, 10_000, 1_000), processes=2))
    taken = 0
    while account.takes(100, 10, now()):
        taken += 1
    assert taken == (100 - 50) / 2
    assert account.is_low
    assert used(account) == Amounts(25, 2_500, 250)


async def test_what_was_told_is_not_taken_a_second_time_before_the_answer() -> None:
    account = an_account()
    tell(account, said(level=Amounts(100, 10_000, 1_000)))
    assert all(account.takes(100, 10, now()) for _ in range(50))
    account.word(now())
    assert not account.takes(100, 10, now())


async def test_who_comes_later_does_not_go_before_those_who_wait() -> None:
    account = an_account()
    tell(account, said(level=Amounts(100, 10_000, 1_000)))
    account.wait(ONE)
    assert not account.takes(1, 1, now())


async def test_a_turn_comes_when_its_wait_is_over() -> None:
    account = an_account()
    first, second, third = (account.wait(ONE) for _ in range(3))
    began = now()
    tell(account, said(0, 0.05, -26))
    assert await outcome(first) is None
    assert await outcome(third) == 25
    assert await outcome(second) is None
    assert now() - began >= 0.049
    assert used(account) == Amounts()


@pytest.mark.parametrize("moment", ["before", "while", "after"])
async def test_who_leaves_holds_nothing(moment: str) -> None:
    account = an_account()
    turn = account.wait(ONE)
    if moment == "before":
        account.leave(turn)
        assert account.word(now())[0].asked == []
        return
    _, turns = account.word(now())
    if moment == "while":
        turn.future.cancel()
        account.leave(turn)
    account.heard(said(0.01), turns, now())
    if moment == "after":
        turn.future.cancel()
        account.leave(turn)
    assert used(account) == Amounts(-1, -100, -10)
    assert not account.is_waited_for


async def test_a_pause_puts_off_those_who_wait_in_the_same_order() -> None:
    account = an_account()
    first, second = account.wait(ONE), account.wait(ONE)
    tell(account, said(0.05, 0.1))
    began = now()
    account.penalise(0.2, 0.85)
    word = tell(account, said(pause_s=0.2))
    assert (word.pause_s, word.cut) == (0.2, 0.85)
    await outcome(first)
    assert now() - began >= 0.24
    await outcome(second)
    assert now() - began >= 0.29


async def test_a_429_while_the_word_was_under_way_holds_its_turns_too() -> None:
    account = an_account()
    turn = account.wait(ONE)
    _, turns = account.word(now())
    began = now()
    account.penalise(0.2, 0.85)
    account.heard(said(0.01), turns, now())
    await outcome(turn)
    assert now() - began >= 0.2


async def test_nothing_goes_at_once_after_a_429_that_redis_has_not_heard_of() -> None:
    account = an_account()
    _, turns = account.word(now())
    account.penalise(0.2, 0.85)
    account.heard(said(level=Amounts(100, 10_000, 1_000)), turns, now())
    assert not account.takes(1, 1, now())


async def test_a_pause_too_long_to_wait_out_sends_them_away() -> None:
    account = an_account()
    turn = account.wait(ONE)
    tell(account, said(1))
    account.penalise(60, 0.7)
    assert await outcome(turn) == pytest.approx(61, abs=0.1)
    assert used(account) == Amounts(-1, -100, -10)


async def test_without_redis_a_process_keeps_to_its_part_of_the_limits() -> None:
    account = an_account()
    tell(account, said(level=Amounts(100, 10_000, 1_000), processes=2))
    turns = [account.wait(ONE) for _ in range(10)]
    word, asking = account.word(now())
    began = now()
    account.go_alone(word, asking, began)
    for turn in turns:
        await outcome(turn)
    assert now() - began >= 10 / (100 / 2) - 0.001  # a bucket that nobody remembers begins empty
    assert used(account) == Amounts(10, 1_000, 100)  # told when Redis is back


@pytest.mark.parametrize("limits", [Amounts(requests=600), Amounts(input=60_000), Amounts(output=6_000)])
@pytest.mark.parametrize("processes", [1, 2])
async def test_without_redis_calls_queue_up_behind_the_turns_that_it_gave(limits: Amounts, processes: int) -> None:
    account = an_account()
    queue = Amounts(-20 * ONE.requests, -20 * ONE.input, -20 * ONE.output)  # two seconds of each limit
    given = [account.wait(ONE) for _ in range(20 // processes)]
    tell(account, said(*(0.1 * processes * n for n in range(len(given))), level=queue, limits=limits))
    tell(account, said(level=queue, limits=limits, processes=processes))
    turn = account.wait(ONE)
    word, asking = account.word(now())
    account.go_alone(word, asking, now())
    assert turn.due - now() == pytest.approx(2 + 0.1 * processes, abs=0.1)  # then one of its share of the limit


async def test_without_redis_what_calls_use_beyond_what_they_held_is_waited_for() -> None:
    account = an_account()
    tell(account, said(level=NOTHING, limits=Amounts(output=6_000)))
    account.go_alone(account.word(now())[0], [], now())
    account.use(0, 0, 200)  # two seconds of the limit
    turn = account.wait(ONE)
    word, asking = account.word(now())
    account.go_alone(word, asking, now())
    assert turn.due - now() == pytest.approx(2.1, abs=0.1)
    assert used(account) == Amounts(1, 100, 210)  # told when Redis is back


async def test_after_a_long_time_without_redis_it_hears_of_no_more_than_a_burst_beyond_the_queue() -> None:
    account = an_account()
    tell(account, said(level=NOTHING, limits=Amounts(requests=6_000)))
    for second in range(60):
        for _ in range(100):
            account.wait(ONE)
        word, asking = account.word(now())
        account.go_alone(word, asking, now() + second)
    told = used(account)  # what came in meanwhile was used by calls that have gone
    assert 100 <= told.requests <= 100 + 100 + 1


async def test_what_was_given_back_in_a_lost_word_is_not_given_back_again() -> None:
    account = an_account()
    account.use(0, -500, 40)
    word, turns = account.word(now())
    account.go_alone(word, turns, now())
    assert used(account) == Amounts(0, 0, 40)


async def test_no_limit_is_believed_above_our_own() -> None:
    account = an_account(Amounts(1_000, 0, 500))
    account.observe(Amounts(4_000, 9_000, 400), Amounts(-1, -1, -1))
    assert account.word(now())[0].learned == Amounts(1_000, 9_000, 400)


async def test_a_queue_that_became_shorter_is_told_so_and_stays_spaced() -> None:
    account = an_account()
    account.learn(ONE, 1.0)
    turns = [account.wait(ONE) for _ in range(10)]
    began = now()
    tell(account, said(*(n / 2 for n in range(1, 11))))
    tell(account, said(level=Amounts()))
    for turn in turns:
        await outcome(turn)
    assert 0.09 <= now() - began < 2


async def test_after_a_cut_those_who_wait_go_by_the_new_rate() -> None:
    account = an_account()
    tell(account, said())
    first, last = account.wait(ONE), account.wait(ONE)
    tell(account, said(0.1, 12))
    began = now()
    tell(account, said(factor=0.5))
    assert await outcome(last) == pytest.approx(24, abs=0.5)  # too long by now
    await outcome(first)
    assert now() - began >= 0.18


async def test_slots_follow_the_limits_and_what_calls_use() -> None:
    account = an_account()
    assert account.slots == float("inf")
    tell(account, said(limits=Amounts(600, 0, 60_000), processes=2))
    account.learn(Amounts(1, 100, 200), 3.0)
    assert account.slots == 5 * (3 + 2) / 2
