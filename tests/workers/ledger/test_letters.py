"""Dead letters and uncertain jobs: which there are, and what becomes of them by a person's word, on both databases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import update

from config.catalogue import Complexity
from tasks.model.call import Call, CallState
from tasks.model.fault import Fault, Rejected, ServerFailed, TimedOut, TooLong
from tasks.model.job import Job, JobState
from tasks.model.verdict import Bury, RetryIn, Verdict
from tasks.rules.replaying import Asked, Edit, edited
from tests.workers.ledger.samples import RECIPE, ROUTE, VALUES, answered, call_of, document, submit
from workers.ledger import (
    Added,
    Again,
    Anew,
    CostBy,
    Database,
    JobLine,
    Letter,
    LetterFilter,
    NewItem,
    add,
    cancel_submission,
    causes,
    costs,
    discard_letters,
    expire_letters,
    group_letters,
    job_key,
    moving,
    open_database,
    progress,
    read_letters,
    replace_letters,
    replay_letters,
    results,
    story,
    summary,
)
from workers.ledger.moving import Claim, Owner, Recipes, Sending, Settlement
from workers.ledger.tables import jobs

OWNER = "worker-1"
REJECTED = Rejected("Claude answered 400 invalid_request_error", status=400, code="invalid_request_error")
LONGER = RECIPE.model_copy(update={"max_tokens": 900})


class Worker:
    """A worker's writes, one at a time."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.late = timedelta()
        self._claims = 0
        owner, at = Owner(OWNER, "host", 1, database.now()), database.now()
        database.write(partial(moving.report, owner=owner, at=at))

    def claim(self, job_id: str, generation: int = 0) -> Job | None:
        self._claims += 1
        wish = Claim(job_id, generation, f"{OWNER}-{self._claims}")
        at = self.database.now() + self.late
        self.database.write(partial(moving.claim, claims=[wish], owner=OWNER, at=at))
        return self.database.read(partial(moving.claimed, claims=[wish], recipes=Recipes())).get(wish.token)

    def must_claim(self, job_id: str, generation: int = 0) -> Job:
        claimed = self.claim(job_id, generation)
        assert claimed is not None
        return claimed

    def send(self, sending: Sending) -> None:
        write = partial(moving.sending, requests=[sending], at=self.database.now())
        assert sending.call.id in self.database.write(write)

    def settle(self, running: Job, verdict: Verdict, call: Call | None = None) -> None:
        settlement = Settlement(running, call, verdict)
        write = partial(moving.settle, settlements=[settlement], at=self.database.now())
        assert running.token in self.database.write(write)


@pytest.fixture
def worker(database: Database) -> Worker:
    return Worker(database)


def bury(worker: Worker, added: Sequence[Added], fault: Fault = REJECTED) -> None:
    for one in added:
        worker.settle(worker.must_claim(one.job_id), Bury(fault))


def sent(worker: Worker, running: Job) -> Call:
    call, shell = call_of(running)
    worker.send(Sending(running.token, call, ROUTE, shell))
    return call


def put_aside(database: Database, added: Sequence[Added]) -> None:
    """Leave the jobs as a lost worker would: uncertain."""
    ids = [one.job_id for one in added]
    aside = update(jobs).where(jobs.c.id.in_(ids)).values(state="uncertain", finished_at=database.now())
    database.write(lambda connection: connection.execute(aside))


def found(database: Database, wanted: LetterFilter) -> list[Letter]:
    return [letter for chunk in read_letters(database, wanted) for letter in chunk]


def names(database: Database, **wanted: object) -> set[str]:
    return {letter.name.removesuffix(".txt") for letter in found(database, LetterFilter(**wanted))}  # type: ignore[arg-type]


def job(database: Database, job_id: str) -> JobLine:
    told = story(database, job_id)
    assert told is not None
    return told.job


def events(database: Database, job_id: str) -> list[str]:
    told = story(database, job_id)
    assert told is not None
    return [event.kind for event in told.events]


def again(database: Database, wanted: LetterFilter, wait: timedelta = timedelta()) -> list[str]:
    """Replay all; the ids of the jobs that were ours."""
    due = database.now() + wait
    return [
        one.job_id
        for chunk in read_letters(database, wanted)
        for one in replay_letters(database, wanted.state, [Again(letter, due) for letter in chunk])
    ]


def anew(letter: Letter, edit: Edit, lane: str = "high") -> Anew:
    asked = edited(Asked(letter.recipe, letter.values, letter.complexity, letter.model), edit)
    return Anew(letter, asked, lane, letter.ended_at)


class TestFinding:
    def test_by_every_condition(self, database: Database, worker: Worker) -> None:
        one, (a, b) = submit(database, ["a", "b"])
        two, (_, c, d) = submit(database, ["a", "c", "d"])
        bury(worker, [a], REJECTED)
        bury(worker, [b], TooLong("document 'b': 212,400 tokens, model takes 200,000"))
        middle = database.now()
        bury(worker, [c], ServerFailed("Claude answered 500 api_error", status=500, code="api_error"))
        put_aside(database, [d])
        assert names(database) == {"a", "b", "c"}
        assert names(database, state=JobState.UNCERTAIN) == {"d"}
        assert names(database, fault="Rejected") == {"a"}
        assert names(database, status=500) == {"c"}
        assert names(database, submission_id=one) == {"a", "b"}
        assert names(database, submission_id=two) == {"a", "c"}  # it knew a
        assert names(database, recipe="summarize", complexity=Complexity.LOW) == {"a", "b", "c"}
        assert names(database, recipe="another") == names(database, complexity=Complexity.HIGH) == set()
        assert names(database, since=middle) == {"c"}
        assert names(database, until=middle) == {"a", "b"}
        assert names(database, message="212,400 TOKENS") == {"b"}
        assert names(database, message="%") == set()
        assert names(database, job_ids=(a.job_id, c.job_id, d.job_id, "job-none")) == {"a", "c"}
        assert names(database, fault="Rejected", status=500) == set()

    def test_a_letter_knows_what_its_replay_would_cost(self, database: Database, worker: Worker) -> None:
        _, (one,) = submit(database, ["a letter"])
        running = worker.must_claim(one.job_id)
        unknown = replace(sent(worker, running), state=CallState.UNKNOWN, fault="TimedOut")
        worker.settle(running, Bury(TimedOut("silent for 30 s")), unknown)
        (letter,) = found(database, LetterFilter())
        assert (letter.characters, letter.pages, letter.recipe, letter.values) == (8, None, RECIPE, VALUES)
        assert letter.unknown_estimate_nanousd == 900

    def test_groups_are_the_same_fault_in_one_lane(self, database: Database, worker: Worker) -> None:
        _, added = submit(database, ["a", "b", "c"])
        bury(worker, added[:1], TooLong("document 'a': 212,400 tokens, model takes 200,000"))
        bury(worker, added[1:2], TooLong("document 'b': 999,999 tokens, model takes 200,000"))
        bury(worker, added[2:], REJECTED)
        first, second = group_letters(database, LetterFilter())
        assert (first.fault, first.letters, first.lane) == ("TooLong", 2, "low")
        assert first.message == "document #: # tokens, model takes #"
        assert first.oldest < first.newest
        assert (second.fault, second.status, second.letters) == ("Rejected", 400, 1)
        assert names(database, fingerprint=first.fingerprint[:6]) == {"a", "b"}
        assert [group.letters for group in group_letters(database, LetterFilter(fingerprint=second.fingerprint))] == [1]

    def test_an_empty_filter_is_told_from_one_that_means_everything(self) -> None:
        assert LetterFilter().empty
        assert LetterFilter(state=JobState.UNCERTAIN).empty
        assert LetterFilter(message="", fingerprint="", fault="", recipe="").empty
        assert not LetterFilter(everything=True).empty
        assert not LetterFilter(fault="Rejected").empty

    def test_more_letters_than_a_chunk(self, database: Database) -> None:
        _, added = submit(database, [f"letter {n}" for n in range(1_203)])
        database.write(lambda connection: connection.execute(update(jobs).values(state="dead")))
        assert sum(len(chunk) for chunk in read_letters(database, LetterFilter())) == 1_203
        ids = tuple(one.job_id for one in added[:777])
        assert {letter.id for letter in found(database, LetterFilter(job_ids=ids))} == set(ids)


class TestCauses:
    def test_every_attempt_is_told_with_its_fault_and_its_cost(self, database: Database, worker: Worker) -> None:
        _, (one,) = submit(database, ["a letter"])
        failed = ServerFailed("Claude answered 500", status=500, request_id="req_1")
        verdicts: list[tuple[Verdict, int | None]] = [
            (RetryIn(0, failed, counts=True), 0),
            (RetryIn(0, REJECTED, counts=True), 123),
            (Bury(REJECTED), None),
        ]
        for generation, (verdict, cost) in enumerate(verdicts):
            running = worker.must_claim(one.job_id, generation)
            worker.settle(running, verdict, answered(sent(worker, running), cost_nanousd=cost))
        told = story(database, one.job_id)
        assert told is not None
        chain = causes(told)
        assert [(cause.what, cause.attempt) for cause in chain] == [("delayed", 0), ("delayed", 1), ("buried", 2)]
        assert [cause.fault and cause.fault.kind for cause in chain] == ["ServerFailed", "Rejected", "Rejected"]
        assert chain[0].fault is not None
        assert (chain[0].fault.status, chain[0].fault.request_id) == (500, "req_1")
        assert [[call.cost_nanousd for call in cause.calls] for cause in chain] == [[0], [123], [None]]


class TestReplay:
    def test_the_same_job_starts_anew_and_keeps_its_history(self, database: Database, worker: Worker) -> None:
        submission, (one,) = submit(database, ["a letter"])
        running = worker.must_claim(one.job_id)
        worker.settle(running, Bury(REJECTED), answered(sent(worker, running)))
        assert again(database, LetterFilter()) == [one.job_id]
        now = job(database, one.job_id)
        assert (now.state, now.generation, now.attempt, now.throttles) == (JobState.QUEUED, 1, 0, 0)
        assert (now.published_at, now.finished_at) == (None, None)
        assert events(database, one.job_id) == ["created", "claimed", "buried", "replayed"]
        assert worker.claim(one.job_id, 0) is None  # a message of its former life
        assert worker.claim(one.job_id, 1) is not None
        before = summary(database, submission)
        assert before is not None
        assert before.spent.cost_nanousd == 123

    def test_a_paced_one_is_not_claimed_before_its_time(self, database: Database, worker: Worker) -> None:
        _, added = submit(database, ["a letter"])
        bury(worker, added)
        (job_id,) = again(database, LetterFilter(), timedelta(minutes=5))
        assert worker.claim(job_id, 1) is None
        worker.late = timedelta(minutes=5)
        assert worker.claim(job_id, 1) is not None

    @pytest.mark.parametrize("state", [JobState.DEAD, JobState.UNCERTAIN])
    def test_two_people_replay_each_job_once(self, database: Database, worker: Worker, state: JobState) -> None:
        _, added = submit(database, [f"letter {n}" for n in range(1_100)])
        ended = update(jobs).values(state=state.value, finished_at=database.now())
        database.write(lambda connection: connection.execute(ended))
        wanted = LetterFilter(state=state)
        url = database.engine.url.render_as_string(hide_password=False)

        def person(_: int) -> list[str]:
            with open_database(url) as own:
                return again(own, wanted)

        with ThreadPoolExecutor(2) as people:
            moved = [job_id for ids in people.map(person, range(2)) for job_id in ids]
        assert Counter(moved) == Counter(one.job_id for one in added)

    def test_the_filter_decides_which_of_both_kinds(self, database: Database, worker: Worker) -> None:
        _, added = submit(database, ["dead", "uncertain"])
        bury(worker, added[:1])
        put_aside(database, added[1:])
        (letter,) = found(database, LetterFilter())
        assert replay_letters(database, JobState.UNCERTAIN, [Again(letter, letter.ended_at)]) == []
        assert again(database, LetterFilter(state=JobState.UNCERTAIN)) == [added[1].job_id]


class TestReplace:
    def test_a_changed_job_takes_the_place_of_the_old_one(self, database: Database, worker: Worker) -> None:
        submission, added = submit(database, ["a letter"])
        other, _ = submit(database, ["a letter"])
        running = worker.must_claim(added[0].job_id)
        worker.settle(running, Bury(REJECTED), answered(sent(worker, running)))
        (letter,) = found(database, LetterFilter())
        edit = Edit(max_tokens=900, complexity=Complexity.HIGH)
        (made,) = replace_letters(database, JobState.DEAD, [anew(letter, edit)])
        assert made.created
        assert (made.letter_id, made.state, made.lane) == (letter.id, JobState.QUEUED, "high")
        old, new = job(database, letter.id), job(database, made.job_id)
        assert (old.state, old.replayed_as) == (JobState.CANCELLED, new.id)
        assert (new.replay_of, new.submission_id, new.complexity) == (old.id, submission, "high")
        assert events(database, old.id)[-1] == "replayed_as"
        running = worker.must_claim(new.id)
        assert (running.recipe.hash, running.recipe.max_tokens) == (LONGER.hash, 900)
        for each in (submission, other):
            assert {state: n for state, n in progress(database, each).items() if n} == {JobState.RUNNING: 1}
            assert [result.job_id for result in results(database, each)] == [new.id]
        paid = summary(database, submission)
        assert paid is not None
        assert paid.spent.cost_nanousd == 123  # what the old one cost is still this submission's
        assert found(database, LetterFilter()) == []
        third, (known,) = submit(database, ["a letter"])
        assert (known.job_id, known.created) == (new.id, False)
        assert progress(database, third)[JobState.RUNNING] == 1
        for each in (submission, other):
            assert cancel_submission(database, each).left == (new.id,)
        assert cancel_submission(database, third).job_ids == (new.id,)

    def test_of_two_people_one_makes_it(self, database: Database, worker: Worker) -> None:
        _, added = submit(database, ["a letter"])
        bury(worker, added)
        (letter,) = found(database, LetterFilter())
        (first,) = replace_letters(database, JobState.DEAD, [anew(letter, Edit(max_tokens=900))])
        assert replace_letters(database, JobState.DEAD, [anew(letter, Edit(max_tokens=700))]) == []
        assert replay_letters(database, JobState.DEAD, [Again(letter, letter.ended_at)]) == []
        assert job(database, letter.id).replayed_as == first.job_id

    def test_a_wish_that_has_an_answer_is_not_paid_for_again(self, database: Database, worker: Worker) -> None:
        submission, added = submit(database, ["a letter"])
        bury(worker, added)
        (letter,) = found(database, LetterFilter())
        key = job_key(letter.document_hash, LONGER.hash, values=VALUES, complexity=Complexity.LOW, model=None)
        item = NewItem(5, "later.txt", key, document("a letter"), LONGER, VALUES, Complexity.LOW, "low")
        (there,) = add(database, submission, [item])
        (linked,) = replace_letters(database, JobState.DEAD, [anew(letter, Edit(max_tokens=900))])
        assert (linked.created, linked.job_id) == (False, there.job_id)
        assert [result.job_id for result in results(database, submission)] == [there.job_id, there.job_id]
        assert {state: n for state, n in progress(database, submission).items() if n} == {JobState.QUEUED: 2}

    def test_a_wish_that_was_given_up_before_is_tried_in_a_new_job(self, database: Database, worker: Worker) -> None:
        submission, added = submit(database, ["a letter"])
        bury(worker, added)
        tried = []
        for _ in range(2):
            (letter,) = found(database, LetterFilter())
            (made,) = replace_letters(database, JobState.DEAD, [anew(letter, Edit(complexity=Complexity.HIGH))])
            bury(worker, [Added(0, "", made.job_id, 0, "high", True, made.state, False)])
            (letter,) = found(database, LetterFilter())
            (made,) = replace_letters(database, JobState.DEAD, [anew(letter, Edit(complexity=Complexity.LOW))])
            assert made.created
            tried.append(made.job_id)
            bury(worker, [Added(0, "", made.job_id, 0, "low", True, made.state, False)])
        assert len(set(tried)) == 2
        assert {state: n for state, n in progress(database, submission).items() if n} == {JobState.DEAD: 1}

    def test_letters_that_become_the_same_wish_share_a_job(self, database: Database, worker: Worker) -> None:
        submission, added = submit(database, ["a letter"])
        key = job_key(document("a letter").hash, LONGER.hash, values=VALUES, complexity=Complexity.LOW, model=None)
        item = NewItem(1, "again.txt", key, document("a letter"), LONGER, VALUES, Complexity.LOW, "low")
        added += add(database, submission, [item])
        bury(worker, added)
        wishes = [anew(letter, Edit(max_tokens=700)) for letter in found(database, LetterFilter())]
        moved = replace_letters(database, JobState.DEAD, wishes)
        assert sorted(one.created for one in moved) == [False, True]
        assert len({one.job_id for one in moved}) == 1
        assert {state: n for state, n in progress(database, submission).items() if n} == {JobState.QUEUED: 2}


class TestDiscard:
    def test_a_discarded_letter_keeps_its_history_and_its_money(self, database: Database, worker: Worker) -> None:
        submission, added = submit(database, ["a", "b"])
        running = worker.must_claim(added[0].job_id)
        worker.settle(running, Bury(REJECTED), answered(sent(worker, running)))
        bury(worker, added[1:])
        assert discard_letters(database, LetterFilter(job_ids=(added[0].job_id,))) == 1
        assert discard_letters(database, LetterFilter(job_ids=(added[0].job_id,))) == 0
        assert job(database, added[0].job_id).state is JobState.CANCELLED
        assert events(database, added[0].job_id)[-1] == "discarded"
        assert names(database) == {"b"}
        assert [line.spent.cost_nanousd for line in costs(database, CostBy.MODEL)] == [123]
        assert progress(database, submission)[JobState.CANCELLED] == 1

    def test_old_dead_letters_expire_and_uncertain_jobs_never(self, database: Database, worker: Worker) -> None:
        _, added = submit(database, ["old", "new", "uncertain"])
        bury(worker, added[:2])
        put_aside(database, added[2:])
        month_ago = database.now() - timedelta(days=31)
        aged = update(jobs).where(jobs.c.id.in_([added[0].job_id, added[2].job_id])).values(finished_at=month_ago)
        database.write(lambda connection: connection.execute(aged))
        assert expire_letters(database, timedelta(days=30)) == 1
        assert events(database, added[0].job_id)[-1] == "letter_expired"
        assert (names(database), names(database, state=JobState.UNCERTAIN)) == ({"new"}, {"uncertain"})
