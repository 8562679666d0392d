"""What a submitter may rely on, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.model.job import JobState
from tests.workers.ledger.samples import RECIPE, document, item, submit
from workers.ledger import (
    Database,
    NewItem,
    Published,
    add,
    begin_submission,
    cancel_jobs,
    cancel_submission,
    health,
    jobs_beginning,
    mark_published,
    progress,
    results,
    story,
    submissions,
    submissions_beginning,
    summary,
)


def test_a_document_that_is_known_gets_no_second_job(database: Database) -> None:
    first, added = submit(database, ["a", "b"])
    second, again = submit(database, ["b", "c"])
    assert [one.created for one in added] == [True, True]
    assert [one.created for one in again] == [False, True]
    assert again[0].job_id == added[1].job_id
    assert again[0].state is JobState.QUEUED
    assert again[0].published
    assert sum(progress(database, first).values()) == sum(progress(database, second).values()) == 2
    assert [line.id for line in submissions(database)] == [second, first]


def test_again_is_another_job_for_the_same_document(database: Database) -> None:
    _, added = submit(database, ["a"])
    _, again = submit(database, ["a"], salt="another submission")
    assert again[0].created
    assert again[0].job_id != added[0].job_id


def test_a_document_twice_in_one_chunk_is_one_job_and_two_items(database: Database) -> None:
    submission_id, added = submit(database, ["a", "a"])
    assert sorted(one.created for one in added) == [False, True]
    assert len({one.job_id for one in added}) == 1
    assert progress(database, submission_id)[JobState.QUEUED] == 2
    assert len(list(results(database, submission_id))) == 2


def test_adding_a_chunk_twice_changes_nothing(database: Database) -> None:
    submission_id = begin_submission(database, recipe=RECIPE.name)
    chunk = [item(0, "a"), item(1, "b")]
    first = add(database, submission_id, chunk)
    second = add(database, submission_id, chunk)
    assert [one.job_id for one in second] == [one.job_id for one in first]
    assert progress(database, submission_id)[JobState.QUEUED] == 2
    told = story(database, first[0].job_id)
    assert told is not None
    assert [event.kind for event in told.events] == ["created"]


def test_what_a_dead_submitter_left_unpublished_is_told_to_the_next(database: Database) -> None:
    submission_id = begin_submission(database, recipe=RECIPE.name)
    add(database, submission_id, [item(0, "a")])
    assert health(database).unpublished == 1
    (again,) = add(database, begin_submission(database, recipe=RECIPE.name), [item(0, "a")])
    assert not again.created
    assert not again.published
    mark_published(database, [Published(again.job_id, again.generation, "m")])
    assert health(database).unpublished == 0


def test_two_submitters_of_the_same_documents_create_each_job_once(database: Database) -> None:
    texts = [f"text {number}" for number in range(300)]

    def submit_in_order(order: int) -> int:
        chosen = texts[::order]
        return sum(one.created for one in submit(database, chosen)[1])

    with ThreadPoolExecutor(4) as threads:
        created = list(threads.map(submit_in_order, [1, -1, 1, -1]))
    assert sum(created) == len(texts)


@pytest.mark.parametrize("text", ["nul \x00 here", "half a pair \ud83d", "\N{PILE OF POO}"])
def test_any_text_can_be_a_name_a_label_and_metadata(database: Database, text: str) -> None:
    submission_id = begin_submission(database, recipe=RECIPE.name, label=text, source=text)
    asked = document("a")
    odd = NewItem(0, text, "key", asked, RECIPE, {"words": text}, item(0, "a").complexity, "low", metadata={"m": text})
    add(database, submission_id, [odd])
    (result,) = results(database, submission_id)
    assert result.metadata == {"m": text}
    assert "\x00" not in result.name


def test_cancelling_names_the_messages_to_revoke_and_leaves_what_others_submitted(database: Database) -> None:
    first, added = submit(database, ["a", "b"])
    second, again = submit(database, ["b", "c"])
    cancelled = cancel_submission(database, second)
    assert cancelled.job_ids == (again[1].job_id,)
    assert cancelled.message_ids == (f"{again[1].job_id}.0",)
    assert cancelled.left == (added[1].job_id,)
    assert progress(database, first)[JobState.QUEUED] == 2
    assert cancel_jobs(database, [added[0].job_id, "job-nobody"]).job_ids == (added[0].job_id,)
    assert cancel_jobs(database, [added[0].job_id]).job_ids == ()


def test_a_document_is_cancelled_with_the_last_submission_that_waits_for_it(database: Database) -> None:
    first, (a, b, shared) = submit(database, ["a", "b", "shared"])
    second, _ = submit(database, ["shared"])
    third, _ = submit(database, ["shared", "shared"])
    cancelled = cancel_submission(database, first)
    assert (set(cancelled.job_ids), cancelled.left) == ({a.job_id, b.job_id}, (shared.job_id,))
    assert progress(database, second)[JobState.QUEUED] == 1, "somebody else's document is not taken away"
    again = cancel_submission(database, first)
    assert (again.job_ids, again.left) == ((), (shared.job_id,))
    told = story(database, shared.job_id)
    assert told is not None
    assert [event.detail for event in told.events if event.kind == "let_go"] == [{"submission": first}]
    assert cancel_submission(database, third).left == (shared.job_id,)
    last = cancel_submission(database, second)
    assert (last.job_ids, last.left) == ((shared.job_id,), ())
    assert last.message_ids == (f"{shared.job_id}.0",)
    assert (cancelled + last).left == ()


def test_there_is_nothing_to_tell_of_what_is_not_there(database: Database) -> None:
    assert summary(database, "sub-nobody") is None
    assert story(database, "job-nobody") is None
    assert list(results(database, "sub-nobody")) == []


def test_an_id_is_found_by_its_beginning(database: Database) -> None:
    submission_id, added = submit(database, ["a", "b"])
    for length in (len("sub-") + 1, len(submission_id) - 1, len(submission_id)):
        assert submissions_beginning(database, submission_id[:length]) == [submission_id]
    assert submissions_beginning(database, submission_id.removeprefix("sub-")) == [submission_id]
    assert jobs_beginning(database, "") == sorted(one.job_id for one in added)
    assert jobs_beginning(database, "job-x") == []
