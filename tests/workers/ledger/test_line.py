"""The lanes' lines, on both databases: whose turn it is, and what waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text, update

from tasks.model.budget import Scope
from tasks.model.job import JobState
from tasks.model.priority import Priority
from tests.workers.ledger.samples import RECIPE, item
from workers.ledger import (
    Added,
    Barred,
    Database,
    LetterFilter,
    Published,
    add,
    barred,
    begin_submission,
    cancel_submission,
    in_line,
    mark_published,
    next_in_s,
    open_database,
    read_letters,
    recent,
    replay_letters,
    set_budget,
    waiting,
)
from workers.ledger.line import BARRED_S, NOTHING
from workers.ledger.replaying import Again
from workers.ledger.tables import budget_use, jobs

NORMAL, LOW = Priority.NORMAL.step, Priority.LOW.step


class Submission:
    """One that adds its documents chunk by chunk, each named by its letter and number."""

    def __init__(self, database: Database, letter: str, priority: Priority = Priority.NORMAL) -> None:
        self.database, self.letter, self.priority = database, letter, priority
        self.id = begin_submission(database, recipe=RECIPE.name)
        self._count = 0
        self._last_turns: dict[tuple[str, int], int] = {}

    def add(self, count: int) -> list[Added]:
        numbers = range(self._count, self._count + count)
        chunk = [replace(item(n, f"{self.letter}{n}"), priority=self.priority) for n in numbers]
        added = add(self.database, self.id, chunk, last_turns=self._last_turns)
        self._last_turns |= {added[0].place: max(one.turn for one in added)}
        self._count += count
        return added


def line(database: Database, limit: int = 100, step: int = NORMAL) -> list[str]:
    """Names in the line's order."""
    ids = [message.job_id for message in in_line(database, "low", limit).get(step, [])]
    query = text("SELECT id, name FROM jobs")
    names: dict[str, str] = dict(database.read(lambda connection: connection.execute(query).all()))
    return [names[job_id].removesuffix(".txt") for job_id in ids]


def feed(database: Database, count: int) -> list[str]:
    """Publish the next ones; their names."""
    names = line(database, count)
    messages = in_line(database, "low", count).get(NORMAL, [])
    mark_published(database, [Published(each.job_id, each.generation, "m") for each in messages])
    return names


def test_jobs_whose_budget_is_spent_stay_in_line_until_it_is_raised(database: Database) -> None:
    stopped, free = Submission(database, "a"), Submission(database, "b")
    stopped.add(2)
    free.add(2)
    budget = partial(set_budget, database, Scope.SUBMISSION, stopped.id, soft_nanousd=None, day="2026-11-22", set_by="")
    budget(hard_nanousd=10)
    assert barred(database, "2026-11-22") == NOTHING

    spent = update(budget_use).values(spent_nanousd=9, refused_at=database.now())
    database.write(lambda connection: connection.execute(spent))
    without = barred(database, "2026-11-22")
    assert without == Barred(submissions=(stopped.id,))
    free_ids = [message.job_id for message in in_line(database, "low", 10, without)[NORMAL]]
    assert len(free_ids) == 2
    mark_published(database, [Published(job_id, 0, "m") for job_id in free_ids])
    assert in_line(database, "low", 10, without) == {}
    assert next_in_s(database, "low", without) == BARRED_S

    budget(hard_nanousd=1_000)
    assert barred(database, "2026-11-22") == NOTHING
    assert line(database) == ["a0", "a1"]


def test_submissions_take_turns_one_by_one_however_large_they_are(database: Database) -> None:
    Submission(database, "a").add(50)
    feed(database, 10)
    Submission(database, "b").add(3)
    Submission(database, "c").add(2)
    assert {name[0] for name in line(database, 3)} == {"a", "b", "c"}
    assert sorted(line(database, 8)) == ["a10", "a11", "a12", "b0", "b1", "b2", "c0", "c1"]
    assert line(database)[8:] == [f"a{n}" for n in range(13, 50)]


def test_the_chunks_of_one_submission_follow_each_other(database: Database) -> None:
    large = Submission(database, "a")
    large.add(10)
    large.add(10)
    Submission(database, "b").add(2)
    large.add(10)
    assert [name for name in line(database) if name[0] == "a"] == [f"a{n}" for n in range(30)]
    assert set(line(database, 4)) == {"a0", "b0", "a1", "b1"}


def test_who_reads_slowly_is_not_behind_those_who_came_later(database: Database) -> None:
    slow = Submission(database, "a")
    slow.add(20)
    feed(database, 20)
    Submission(database, "b").add(50)
    feed(database, 10)
    slow.add(2)
    assert sorted(line(database, 4)) == ["a20", "a21", "b10", "b11"]


def test_each_priority_has_a_line_of_its_own(database: Database) -> None:
    Submission(database, "a").add(5)
    Submission(database, "b", Priority.LOW).add(2)
    found = in_line(database, "low", 3)
    assert {step: len(messages) for step, messages in found.items()} == {NORMAL: 3, LOW: 2}
    assert {message.priority for message in found[LOW]} == {LOW}
    assert in_line(database, "high", 3) == {}


def test_what_is_published_or_cancelled_waits_no_more(database: Database) -> None:
    one, other = Submission(database, "a"), Submission(database, "b")
    (first, _) = one.add(2)
    other.add(3)
    assert waiting(database, ["low"]) == {"low": 5}
    mark_published(database, [Published(first.job_id, 0, "m")])
    cancelled = cancel_submission(database, other.id)
    assert len(cancelled.job_ids) == 3
    assert cancelled.message_ids == ()
    assert line(database) == ["a1"]
    assert waiting(database, ["low"]) == {"low": 1}


def dead_letters(database: Database, count: int) -> Sequence[str]:
    added = Submission(database, "a").add(count)
    ended = update(jobs).values(state=JobState.DEAD.value, finished_at=database.now(), published_at=database.now())
    database.write(lambda connection: connection.execute(ended))
    return [one.job_id for one in added]


@pytest.mark.parametrize("paced", [False, True])
def test_a_replay_waits_in_line_and_a_paced_one_for_its_time(database: Database, paced: bool) -> None:
    dead_letters(database, 3)
    (letters,) = read_letters(database, LetterFilter())
    now = database.now()
    moments = [now - timedelta(seconds=1), now + timedelta(seconds=100), now + timedelta(seconds=50)]
    wishes = [Again(each, at if paced else None) for each, at in zip(letters, moments, strict=True)]
    replayed = replay_letters(database, JobState.DEAD, wishes)
    assert waiting(database, ["low"]) == {"low": 3}
    assert next_in_s(database, "low") == 0
    if not paced:
        assert [message.job_id for message in in_line(database, "low", 10)[NORMAL]] == [one.job_id for one in replayed]
        return
    (due,) = in_line(database, "low", 10)[NORMAL]
    assert (due.job_id, due.generation) == (letters[0].id, 1)
    mark_published(database, [Published(due.job_id, due.generation, "m")])
    assert in_line(database, "low", 10) == {}
    wait_s = next_in_s(database, "low")
    assert wait_s is not None
    assert 40 < wait_s < 51


def test_what_is_due_and_what_is_in_line_alternate(database: Database) -> None:
    dead_letters(database, 3)
    (letters,) = read_letters(database, LetterFilter())
    replay_letters(database, JobState.DEAD, [Again(each, database.now()) for each in letters])
    Submission(database, "b").add(3)
    assert [name[0] for name in line(database)] == list("ababab")


def test_nothing_waits_and_nothing_was_sent(database: Database) -> None:
    assert next_in_s(database, "low") is None
    assert waiting(database, ["low"]) == {"low": 0}
    assert recent(database) == {}


def test_the_line_is_read_from_its_index(tmp_path: Path) -> None:
    """However long it is, and however many jobs have ended: a feeder reads it four times a second."""
    with open_database(f"sqlite:///{tmp_path / 'ledger.sqlite3'}") as database:
        Submission(database, "a").add(40)
        asked: list[tuple[str, Any]] = []
        event.listen(database.engine, "before_cursor_execute", lambda *args: asked.append(args[2:4]))
        in_line(database, "low", 5)
        next_in_s(database, "low")
        waiting(database, ["low"])
        selects = [(statement, values) for statement, values in asked if statement.startswith("SELECT")]
        with database.engine.connect() as plain:
            plans = [list(plain.exec_driver_sql(f"EXPLAIN QUERY PLAN {said}", values)) for said, values in selects]
    assert len(plans) >= 6
    for plan in plans:
        said = " ".join(str(step) for step in plan)
        assert "ix_jobs_line" in said or "ix_jobs_due" in said, said
        assert "TEMP B-TREE" not in said
