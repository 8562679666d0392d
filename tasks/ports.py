"""What the tasks need from outside, as Protocols, gathered in one `World`.

The workers put a World in place when a process starts (`use`); a test puts in its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol
from zoneinfo import ZoneInfo

from config.catalogue import Catalogue
from config.prices import PriceBook
from config.settings import Settings
from tasks.model.alert import Alert, Delivery
from tasks.model.budget import BudgetNow
from tasks.model.burial import Burial
from tasks.model.call import Answer, Call, Expected, Kept, Prompt, Route, Usage
from tasks.model.day import ClosedDay, Count, Entered, Trouble
from tasks.model.fault import Fault
from tasks.model.job import Job, LostJob, Message
from tasks.model.standing import Held, Standing, Stopped
from tasks.model.verdict import Verdict
from tasks.rules.judging import Fate


class LedgerUnavailable(Exception):
    """The database did not answer for so long that the message had better wait in the broker."""


class ClaimLost(Exception):
    """The job is not this worker's any more: nothing may be sent for it."""


class Claude(Protocol):
    """The far side of the wire."""

    async def ask(self, prompt: Prompt, route: Route) -> Answer:
        """One request, one Message. Raises `Fault`, never an exception of the SDK's."""

    async def probe(self) -> None:
        """A request that costs nothing. Raises `Fault`: `Unauthorized` while the key is not accepted."""

    async def retires_on(self, model: str) -> date | None:
        """Day on which the far side says a model is to retire; None where none is set, or it cannot be told now."""


class Ledger(Protocol):
    """Where a job's state, its calls and their cost are true.

    Each method returns once its rows are committed, and raises `LedgerUnavailable` when that cannot be had. What was
    asked is written even when the asking coroutine is cancelled. Writes of many jobs share a transaction.
    """

    async def claim(self, job_id: str, generation: int, message_id: str | None = None) -> Job | None:
        """Take a queued or waiting job; None when another message, worker or person was faster.

        `message_id` is Celery's of the message: to cancel the job while it runs is to revoke that one.
        """

    async def sending(self, job: Job, call: Call, route: Route, shell: str) -> None:
        """Write the intent of a call, the job's route, and the prompt's shell under its hash, before the request.

        Holds `call.held_nanousd` of the budgets that it counts toward, in the same step, until the call ends. Raises
        `ClaimLost` when another claim or a person has the job by now, `OverBudget` where a hard budget has no room.
        """

    async def settle(self, job: Job, call: Call | None, verdict: Verdict) -> bool:
        """Record the call's end and move the job by the verdict, in one transaction.

        False when the job was not ours any more; the call is recorded all the same. `Done` needs no claim: it ends the
        job of an earlier one, too, unless that has ended or a person has given it up.
        """

    async def hand_back(self, job: Job, call: Call | None, fate: Fate = Fate.AGAIN) -> None:
        """Record what is known of an interrupted call, and put its job back to queued.

        With the fate `UNCERTAIN` it is left to a person instead.
        """


class Limiter(Protocol):
    """The fleet's place in Claude's rate limits. Where none is known, and none is told, everything goes at once."""

    async def admit(self, token: str, model: str, expected: Expected) -> None:
        """Wait for the turn of a claim's call, seconds at most. Raises `NoRoom` where it would take longer.

        What is admitted must end in `settle` or `release`; a second word about it does nothing. What is refused, or
        cancelled while it waits, holds nothing.
        """

    def settle(self, token: str, usage: Usage | None) -> None:
        """Say what an admitted call used; None when that is not known, which counts as what was expected."""

    def release(self, token: str) -> None:
        """Give an admitted call's place back: it was not sent."""

    def throttled(self, model: str, fault: Fault) -> bool:
        """Claude said 429: the whole fleet pauses as long as asked, and goes on more slowly.

        True where that is enough: limits are known that space what follows, and the pause is one to wait out.
        """


class Expectations(Protocol):
    """What calls are likely to use, learned from those there were. Nothing here waits."""

    def of(self, recipe_hash: str, model: str, characters: int, max_tokens: int, *, is_pdf: bool = False) -> Expected:
        """What a prompt of so many characters and its answer, of `max_tokens` at most, will hardly exceed.

        `is_pdf` is for a PDF sent as it is, whose characters are an equivalent.
        """

    def learn(self, recipe_hash: str, call: Call, *, is_pdf: bool = False) -> None:
        """Note an answered call."""


class Lanes(Protocol):
    """What is known of how the lanes do. Nothing here raises: a pause that cannot be kept comes with the next fault."""

    async def pause(self, queues: Collection[str] | None, seconds: float, fault: Fault) -> Collection[str]:
        """Stop queues on all workers, all of them for None; those that are stopped now."""

    async def succeeded(self, queue: str, took_s: float) -> None:
        """Claude answered a job of this queue, asked so long ago. Ends the trial of a queue that was stopped before."""

    def saw(self, model: str, fault: Fault | None) -> bool:
        """Note the end of a call. True when most of the model's last calls found Claude overloaded."""


class Room(Protocol):
    """This process's own part in the lanes."""

    def stop(self, fault: Fault) -> None:
        """Claim no more jobs in this process until answers can be kept again. Other processes go on."""


class Estate(Protocol):
    """What a dead worker process of this machine left behind. While it is open, nobody else has it."""

    @property
    def owner(self) -> str:
        """Id of the process."""

    @property
    def kept(self) -> Sequence[Kept]:
        """Its answers, some of which the ledger has."""

    @property
    def unreadable(self) -> int:
        """How many more there are, in a form that this docmill does not know."""

    def discharge(self) -> None:
        """Everything in it is settled: it may go."""

    def set_aside(self) -> None:
        """Something in it cannot be settled: out of the way, for a person to look at."""


class Spool(Protocol):
    """Answers on this machine's disk until the ledger has them. Nothing here waits, or raises where it is not said."""

    def check(self) -> None:
        """Ask before a request goes out. Raises `Unkeepable` when its answer could not be kept."""

    def keep(self, kept: Kept) -> None:
        """Keep an answer. One that the disk does not take is logged; its job may settle all the same."""

    def done(self, call_id: str) -> None:
        """The ledger has this answer."""

    def estates(self) -> Iterator[Estate]:
        """What processes have left that are certainly dead. Each is open until the next is asked for."""

    def living(self) -> frozenset[str]:
        """Owners that certainly live on this machine, though they may be stopped; this process is one of them."""


class Upkeep(Protocol):
    """The ledger for the sweeper. Every method raises `LedgerUnavailable` when the database does not answer."""

    async def take_turn(self, name: str, every_s: float) -> bool:
        """Whether this interval's turn is ours: each is taken once, whoever asks."""

    async def unsettled(self, kept: Sequence[Kept]) -> list[tuple[Kept, Job]]:
        """Those whose calls the ledger still holds open, each with its job as that claim had it."""

    async def silent_owners(self, living: Collection[str]) -> list[str]:
        """Owners of running jobs that have not been seen for too long; `living` ones are given more time.

        None while this process could not report itself: then the fault may be the database's.
        """

    async def lost_jobs(self, owners: Collection[str]) -> list[LostJob]:
        """The jobs that these owners were running."""

    async def note_deaths(self, owners: Collection[str], within_s: float) -> int:
        """Note that these are dead; how many have died within so long, those that were not noted yet included."""

    async def resolve(self, fates: Sequence[tuple[LostJob, Fate]]) -> tuple[list[Message], list[Burial]]:
        """Move the jobs that are still with their owners: messages of those queued again, and what was buried.

        Those whose call has gone out since `lost_jobs` are left as they are, to be judged by that.
        """

    async def standing(self) -> Mapping[str, Standing]:
        """What the ledger believes of each queue that has unfinished jobs."""

    async def missing(self, queue: str, limit: int) -> list[Message]:
        """Messages that the broker is most likely to have lost: those published longest ago, and not just now."""

    async def published(self, messages: Sequence[Message]) -> None:
        """Note that these were published just now."""

    async def recount_budgets(self) -> int:
        """Count what budgets have used anew where it is not what their calls say; how many it were."""

    async def close_calls(self) -> int:
        """Book the calls as unknown that nobody is waiting for any more; how many it were."""

    async def expire_letters(self, older_than_s: float) -> int:
        """Discard the dead letters that are older; how many it were."""

    async def expire_jobs(self, limit: int) -> list[Burial]:
        """Bury the jobs that have been retried beyond their deadline."""


class Broker(Protocol):
    """The broker for the sweeper. Raises whatever its client raises when it is away."""

    async def publish(self, messages: Sequence[Message]) -> None:
        """Send these once more; one whose wait is not over lies in the delayed set.

        Each has an id of its own: a revoke of what was sent before does not meet it.
        """

    async def ring(self, queues: Collection[str]) -> None:
        """Have the feeders look at what waits in these queues' lines."""

    async def held(self, queues: Collection[str]) -> Mapping[str, Held]:
        """How many messages it has of each queue."""

    async def pauses(self, queues: Collection[str]) -> Mapping[str, Stopped]:
        """The queues that are paused. Best effort: none while it does not answer."""

    async def mirror(self, burials: Sequence[Burial]) -> None:
        """Show burials to those who watch the broker. Best effort: it never raises, and takes seconds at most."""


class Books(Protocol):
    """The ledger's days. Every method raises `LedgerUnavailable` when the database does not answer."""

    async def due_days(self) -> list[str]:
        """Days to be counted: those that are not closed, and those whose calls are not what their closing counted."""

    async def count(self, day: str) -> Count:
        """The calls of a day as they are now."""

    async def enter(self, count: Count, zone: ZoneInfo, *, is_final: bool) -> Entered:
        """Write a day's count down, and close the day where it is final. A later count is never overwritten.

        A closed day stays closed; one whose closing is not the same any more keeps what it said before.
        """

    async def closed_days(self, limit: int) -> list[ClosedDay]:
        """The last closed days, the newest first."""

    async def budgets(self, day: str) -> Sequence[BudgetNow]:
        """Every budget there is, as it stands on that day."""

    async def trouble(self) -> Trouble:
        """Dead letters, and jobs that wait for long."""


class Outbox(Protocol):
    """Alerts on their way. Every method raises `LedgerUnavailable` when the database does not answer."""

    async def tell(self, alerts: Sequence[Alert], channels: Sequence[str]) -> list[str]:
        """Have those delivered through each channel whose keys were never told; their ids."""

    async def due(self, limit: int) -> list[Delivery]:
        """Deliveries to be tried now, the oldest first, so many of each channel at most."""

    async def take(self, delivery: Delivery, for_s: float) -> bool:
        """Whether this delivery is ours to try; nobody else's for so long."""

    async def sent(self, delivery: Delivery) -> None:
        """It was delivered."""

    async def failed(self, delivery: Delivery, error: str, next_at: datetime | None) -> None:
        """It was not; try again at that moment, or never."""


class Channels(Protocol):
    """Ways to reach a person."""

    @property
    def names(self) -> Sequence[str]:
        """What they are called in the settings. `log` is always there."""

    async def send(self, delivery: Delivery) -> None:
        """Deliver, within seconds. Raises `Undelivered`."""


@dataclass(frozen=True, slots=True)
class World:
    """Everything foreign, in one place."""

    settings: Settings
    catalogue: Catalogue
    prices: PriceBook
    ledger: Ledger
    upkeep: Upkeep
    spool: Spool
    broker: Broker
    claude: Claude
    lanes: Lanes
    room: Room
    limiter: Limiter
    expectations: Expectations
    books: Books
    outbox: Outbox
    channels: Channels
    now: Callable[[], datetime]
    """The moment, with its time zone."""
    draw: Callable[[], float]
    """Chance: uniform over [0, 1)."""
    new_id: Callable[[str], str]
    """A fresh id that begins with the given prefix and sorts by the time it was made."""


_world: World | None = None


def use(world: World | None) -> None:
    """Put the process's World in place, or take it away."""
    global _world
    _world = world


def world() -> World:
    """The World of this process. Raises `RuntimeError` when no worker put one in place."""
    if _world is None:
        raise RuntimeError("no World here: document tasks run in a worker, started as `celery -A workers.app worker`")
    return _world
