"""One process's account with one bucket: what it may use at once, what it has not told yet, what its calls are like.

No I/O: `limiter` carries its words to Redis and back, `turns` has the calls that wait. All times are the event loop's.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from tasks.rules.limiting import (
    NOTHING,
    Amounts,
    Bucket,
    Pace,
    bursts,
    calls_per_s,
    capped,
    charged,
    rates,
    refilled,
    reserved,
    slots_needed,
)
from workers.limiter.bucket import NOT_SAID, Memory, Said, Word
from workers.limiter.turns import Turn, Turns

SHARE_LASTS_S = 1.0
"""What may go out at once is a part of what there was then: others may have come since."""
MEMORY_LASTS_S = 600.0
"""After that a bucket that Redis has lost starts slowly again."""
LEARN = 0.1
"""Weight of the newest call in the averages."""
FIRST_LATENCY_S = 5.0
"""Until a call has ended."""
GUESS_FACTOR = 1.5
"""Times the mean of the answers there were: for one of which nothing is known but that it is an answer."""
FIRST_CALLS, FASTER_EACH_S = 10.0, 4.0
"""Before any response has said what the limits are, the fleet makes so many calls, and so many times more each second:
a refusal comes fast and says it too, and had better not come to hundreds."""
ONE_REQUEST = Amounts(1)
ANYTHING = Amounts(math.inf, math.inf, math.inf)


class Account:
    """See the module's docstring. Used on one event loop."""

    def __init__(self, bucket: str, process: str, ceiling: Amounts, pace: Pace) -> None:
        """Open the account; `ceiling` are limits that we set ourselves, 0 where we set none."""
        self._bucket, self._process, self._ceiling, self._pace = bucket, process, ceiling, pace
        self._loop = asyncio.get_running_loop()
        self._turns = Turns(pace.longest_wait_s, self._give_back)
        self._said: Said | None = None
        self._heard_at = 0.0
        self._share, self._share_until = NOTHING, 0.0
        self._used = [0.0, 0.0, 0.0]
        self._learned, self._remaining = NOTHING, NOT_SAID
        self._pause_s, self._cut = -1.0, 1.0
        self._paused_until = 0.0
        self._alone: Bucket | None = None
        self._lost = NOTHING  # what Redis has to hear of the time without it
        self._per_call, self._latency_s = ONE_REQUEST, FIRST_LATENCY_S
        self._has_learned = False
        self._has_response = False
        self._first_at, self._let_go = 0.0, 0
        self.held = 0
        """Calls that were admitted and have not ended."""

    # --- calls

    def takes(self, input_: float, output: float, now: float) -> bool:
        """Whether a call may go at once; then it is noted."""
        if now > self._share_until or self._turns.has_new:
            return False
        used, share = self._used, self._share
        if used[0] + 1 > share[0] or used[1] + input_ > share[1] or used[2] + output > share[2]:
            return False
        used[0] += 1
        used[1] += input_
        used[2] += output
        return True

    @property
    def is_low(self) -> bool:
        """Whether so much of what may go at once is gone that it is time to ask for more."""
        used, share = self._used, self._share
        return 2 * used[0] > share[0] or 2 * used[1] > share[1] or 2 * used[2] > share[2]

    def wait(self, asked: Amounts, *, is_guess: bool = False) -> Turn:
        """A turn for a call, to be asked for with the next word.

        `is_guess` where its output is all that it could be, for want of any answers like it.
        """
        if not self._has_learned:
            self._per_call = asked
        elif is_guess:
            asked = self._sized(asked)
        return self._turns.add(asked, is_guess=is_guess)

    def leave(self, turn: Turn) -> None:
        """The call does not wait any more: what was held for it is given back."""
        self._turns.leave(turn)

    def use(self, requests: float, input_: float, output: float) -> None:
        """Note what was used beyond what was reserved."""
        self._used[0] += requests
        self._used[1] += input_
        self._used[2] += output

    def learn(self, used: Amounts, took_s: float) -> None:
        """Note how much a call used, and how long it took."""
        if not self._has_learned:
            self._per_call, self._latency_s, self._has_learned = used, took_s, True
            self._turns.resize(self._sized)
            return
        self._per_call = Amounts(*(old + LEARN * (new - old) for old, new in zip(self._per_call, used, strict=True)))
        self._latency_s += LEARN * (took_s - self._latency_s)

    @property
    def slots(self) -> float:
        """Calls that this process must hold to use its part of the limits; `inf` while nothing limits it."""
        if self._said is None:
            return math.inf
        return slots_needed(self._rate(self._said), self._per_call, self._latency_s, self._said.processes)

    # --- what the server says

    def observe(self, limits: Amounts, remaining: Amounts) -> None:
        """Note a response's headers. No limit is believed above our own ceiling."""
        capped = (min(limit, most) if most else limit for limit, most in zip(limits, self._ceiling, strict=True))
        self._learned, self._remaining = Amounts(*capped), remaining
        self._has_response = True

    def penalise(self, pause_s: float, cut: float) -> None:
        """After a 429: nothing goes out for so long, here at once, and elsewhere with the next word."""
        self._pause_s, self._cut = max(self._pause_s, pause_s), min(self._cut, cut)
        self._share = NOTHING
        self._pause_until(self._loop.time() + pause_s)

    @property
    def is_known(self) -> bool:
        """Whether there is a limit to go by."""
        return self._said is not None and any(self._said.limits)

    # --- words

    @property
    def is_waited_for(self) -> bool:
        """Whether calls wait for their turn."""
        return bool(self._turns)

    def has_news(self, now: float, beat_s: float) -> bool:
        """Whether there is something to tell, or a sign of life is due."""
        if self._turns or any(self._used) or any(self._lost) or self._pause_s >= 0:
            return True
        if any(self._learned) and (self._said is None or self._learned != self._said.limits):
            return True
        return self.held > 0 and now - self._heard_at > beat_s

    def word(self, now: float) -> tuple[Word, list[Turn]]:
        """What to tell, with the turns it asks for. It counts as told."""
        turns = self._turns.take_new(self._allowance(now))
        self._let_go += len(turns)
        word = Word(
            self._bucket,
            self._process,
            unsent=self._turns.unsent,
            learned=self._learned,
            ceiling=NOT_SAID if self._said else self._ceiling,
            memory=self._memory(now),
            used=_sum(self._used, self._lost),
            remaining=self._remaining,
            pause_s=self._pause_s,
            cut=self._cut,
            asked=[turn.asked for turn in turns],
        )
        self._share = Amounts(*(share - used for share, used in zip(self._share, self._used, strict=True)))
        self._used = [0.0, 0.0, 0.0]
        self._learned, self._remaining = NOTHING, NOT_SAID
        self._pause_s, self._cut = -1.0, 1.0
        return word, turns

    def heard(self, said: Said, turns: Sequence[Turn], now: float) -> None:
        """Go by what Redis answered."""
        before = calls_per_s(self._rate(self._said), self._per_call) if self._said else math.inf
        self._said, self._heard_at, self._alone, self._lost = said, now, None, NOTHING
        self._pause_until(now + said.pause_s)
        start, rate = max(now, self._paused_until), self._rate(said)
        flow = calls_per_s(rate, self._per_call)
        if math.inf > before > flow:  # the rate was cut: those who wait go by the new one too
            self._turns.stretch(start, before / flow)
        later_s = max(0.0, self._paused_until - now - said.pause_s)  # for a 429 that Redis had not heard of
        for turn, wait_s in zip(turns, said.waits_s, strict=True):
            if wait_s < 0:
                turn.end(-1 - wait_s)
            else:
                self._turns.answer(turn, wait_s + later_s, now)
        self._share, self._share_until = self._share_of(said, now), now + SHARE_LASTS_S
        self._draw_up(start, said.level, rate, said.processes / flow)

    def go_alone(self, word: Word, turns: Sequence[Turn], now: float) -> None:
        """Redis did not answer: keep to our part of the limits as they were last known, without it.

        What it may have heard of the word is charged again, and not given back again.
        """
        self._pause_s, self._cut = max(self._pause_s, word.pause_s), min(self._cut, word.cut)
        self._share = NOTHING
        bucket = refilled(self._alone or self._own_bucket(now), self._pace, now)
        used = (each - lost for each, lost in zip(word.used, self._lost, strict=True))  # since the last word
        bucket = capped(charged(bucket, Amounts(*used)), NOTHING, self._pace, now)
        told = word.used
        for turn in turns:
            bucket, wait_s = reserved(bucket, turn.asked, self._pace, now)
            if wait_s is None:
                turn.end(self._pace.longest_wait_s)
            else:
                told = _sum(told, turn.asked)
                self._turns.answer(turn, wait_s, now)
        rate = rates(bucket, self._pace, now)
        self._draw_up(bucket.at, bucket.level, rate, 1 / calls_per_s(rate, self._per_call))
        # All else has come in again: told of it, a bucket that had filled up would stand still for as long as we did.
        most = (full - level for full, level in zip(bursts(rate, self._pace), bucket.level, strict=True))
        self._lost = Amounts(*(max(0.0, min(each, owed)) for each, owed in zip(told, most, strict=True)))
        self._alone = bucket

    # --- inside

    def _allowance(self, now: float) -> float:
        """How many calls may ask for their turn."""
        if self._has_response or self._said is None or any(self._said.limits):
            return math.inf
        self._first_at = self._first_at or now
        growth = math.pow(FASTER_EACH_S, min(10.0, now - self._first_at))
        return max(1.0, FIRST_CALLS / self._said.processes) * growth - self._let_go

    def _give_back(self, amounts: Amounts) -> None:
        self.use(*(-amount for amount in amounts))

    def _sized(self, asked: Amounts) -> Amounts:
        """A guess made better by what other calls used."""
        return asked._replace(output=min(asked.output, GUESS_FACTOR * self._per_call.output))

    def _pause_until(self, until: float) -> None:
        """Nothing goes out before: everybody's turn comes so much later."""
        now = self._loop.time()
        later_s = until - max(now, self._paused_until)
        self._paused_until = max(self._paused_until, until)
        if later_s <= 0:
            return
        if self._alone is not None:
            self._alone = replace(self._alone, at=max(self._alone.at, until))
        self._turns.put_off(later_s, now)

    def _memory(self, now: float) -> Memory:
        if self._said is not None and any(self._said.limits) and now - self._heard_at < MEMORY_LASTS_S:
            return Memory(self._said.limits, self._said.factor, self._said.age_s + now - self._heard_at)
        return Memory(self._ceiling, 1.0, 0.0)

    def _draw_up(self, start: float, level: Amounts, rate: Amounts, spacing_s: float) -> None:
        """Tell those who wait of a queue that has become shorter."""
        if any(rate):
            queue_s = max(-each / per_s for each, per_s in zip(level, rate, strict=True) if per_s)
            self._turns.draw_up(start, queue_s, spacing_s)

    def _own_bucket(self, now: float) -> Bucket:
        """Our part of what was last known, behind the turns that Redis has given to all of us.

        Not above empty: what others sent since then nobody has told us.
        """
        memory, said = self._memory(now), self._said
        processes = said.processes if said else 1
        bucket = Bucket(
            at=max(self._heard_at, self._paused_until),
            born_at=now - memory.age_s,
            limits=Amounts(*(limit / processes for limit in memory.limits)),
            level=Amounts(*(level / processes for level in said.level)) if said else NOTHING,
            factor=memory.factor,
            stepped_at=now,
            paused_until=self._paused_until,
        )
        bucket = refilled(bucket, self._pace, now)
        return replace(bucket, level=Amounts(*(min(0.0, level) for level in bucket.level)))

    def _rate(self, said: Said) -> Amounts:
        return Amounts(*(limit * self._pace.share * said.factor * said.started / 60 for limit in said.limits))

    def _share_of(self, said: Said, now: float) -> Amounts:
        """What may go at once before the next word: our part of what a bucket has beyond its half."""
        if self._paused_until > now:
            return NOTHING
        if not any(said.limits):
            return ANYTHING if self._has_response else NOTHING
        burst = bursts(self._rate(said), self._pace)
        beyond = (max(0.0, said.level[n] - burst[n] / 2) if said.limits[n] else math.inf for n in range(3))
        return Amounts(*(each / said.processes for each in beyond))


def _sum(one: Iterable[float], other: Iterable[float]) -> Amounts:
    return Amounts(*(mine + more for mine, more in zip(one, other, strict=True)))
