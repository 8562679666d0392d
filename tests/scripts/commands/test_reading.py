"""The commands that only read, on a ledger in which something has happened. The meaning is checked, not the layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from config.settings import Settings
from tasks.model.job import JobState
from tests.scripts.commands.conftest import ESCAPE, LETTER, Docmill, Past, an_item
from tests.values import SUMMARIZE
from workers.ledger import add, begin_submission, open_database

COST = 1_234_567


@pytest.mark.parametrize(
    "words",
    [["status"], ["results"], ["costs"], ["costs", "--by", "submission"], ["recipes"], ["doctor"], ["watch"]],
)
def test_what_an_empty_folder_says_is_no_traceback(docmill: Docmill, words: list[str]) -> None:
    said = docmill(*words)
    assert said.code in (0, 2)
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    "words",
    [
        ["status", "--json"],
        ["watch", "--json"],
        ["costs", "--json"],
        ["recipes", "--json"],
        ["doctor", "--json"],
        ["show", "{job}", "--json"],
        ["show", "{job}", "--json", "--prompt"],
        ["show", "{job}", "--json", "--answer"],
    ],
)
def test_all_json_is_json(docmill: Docmill, past: Past, words: list[str]) -> None:
    assert docmill(*(word.format(job=past.jobs["letter.txt"]) for word in words)).json


def test_status_counts_each_submission_newest_first(docmill: Docmill, past: Past) -> None:
    newer, older = docmill("status", "--json").json["submissions"]
    assert (newer["submission_id"], older["submission_id"]) == (past.newer, past.older)
    assert set(newer["states"]) == set(JobState)
    assert {state: count for state, count in newer["states"].items() if count} == {"done": 2, "dead": 2}
    assert older["states"]["queued"] == 1
    said = docmill("status")
    assert [line.split()[0] for line in said.out.splitlines()[1:3]] == [past.newer, past.older]
    assert "docmill up" in said.out  # why there are no lanes


def test_results_are_the_newest_submissions_in_order(docmill: Docmill, past: Past) -> None:
    letter, note, bad, slow = docmill("results").lines
    assert (letter["name"], letter["state"], letter["job_id"]) == ("letter.txt", "done", past.jobs["letter.txt"])
    assert letter["output"] == {"kind": "letter", "pages": 1}  # parsed: its recipe has a schema
    assert note["output"] == f"A {ESCAPE}note,\nin two lines."  # text as it came
    assert (letter["cost_nanousd"], letter["cost_usd"]) == (COST, "0.001234567")
    assert (letter["tokens"]["input"], letter["tokens"]["output"], letter["attempts"]) == (1_000, 50, 1)
    assert letter["synthetic"] is True
    assert letter["metadata"] == {"shelf": 0}
    assert letter["fault"] is None
    assert bad["output"] is None
    assert (bad["state"], bad["fault"]["kind"]) == ("dead", "Refused")
    assert (slow["unknown_calls"], slow["cost_nanousd"]) == (1, 0)


def test_results_go_to_a_file_that_is_whole_or_not_there(docmill: Docmill, past: Past, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    assert docmill("results", "-o", str(target)).out == ""
    assert [json.loads(line)["name"] for line in target.read_text().splitlines()][:2] == ["letter.txt", "note.txt"]
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["out.jsonl"]
    for nowhere in (tmp_path / "none" / "out.jsonl", tmp_path):
        said = docmill("results", "-o", str(nowhere))
        assert said.code == 2
        assert str(nowhere) in said.err
    assert docmill("results", "-o", "/dev/null").code == 0
    assert Path("/dev/null").is_char_device()


def test_results_of_what_is_not_finished_say_so(docmill: Docmill, past: Past) -> None:
    said = docmill("results", past.older)
    assert said.lines[0]["state"] == "queued"
    assert said.lines[0]["output"] is None
    assert "not finished: 1 queued" in said.err


def test_an_id_may_be_shortened_while_only_one_fits(docmill: Docmill, past: Past) -> None:
    unlike = next(at for at in range(len(past.newer)) if past.newer[at] != past.older[at])
    for enough in (past.newer[: unlike + 1], past.newer[4 : unlike + 1], past.newer[:-1], past.newer, "latest"):
        assert docmill("results", enough).lines[0]["name"] == "letter.txt"
    both = docmill("results", past.newer[:unlike])
    assert both.code == 2
    assert past.newer in both.err
    assert past.older in both.err
    assert docmill("results", "sub-zzz").code == 2
    assert docmill("show", "nosuch").err == "docmill: no job 'nosuch': `docmill results` lists them\n"
    assert docmill("results", "100%_").code == 2


def test_show_tells_the_story_in_order(docmill: Docmill, past: Past) -> None:
    said = docmill("show", past.jobs["letter.txt"]).out
    steps = ("created", "claimed by worker-", "sent to", "answered; 1,000 in", "s  done\n")
    places = [said.index(step) for step in steps]
    assert places == sorted(places)
    assert "$0.001235" in said
    assert "req_1" in said
    assert "Refused: Claude declined" in docmill("show", past.jobs[f"bad{ESCAPE}.txt"]).out
    assert "unknown, at most $0.002500" in docmill("show", past.jobs["slow.txt"]).out


def test_show_prints_the_prompt_as_sent_and_the_answer_as_it_came(docmill: Docmill, past: Past) -> None:
    letter = past.jobs["letter.txt"]
    sent = docmill("show", letter, "--prompt", "--json").json
    assert sent["system"] == "You sort."
    assert sent["messages"][0]["content"][0]["text"] == f"<document>\n{LETTER}\n</document>"
    assert sent["output_schema"]["required"] == ["kind"]
    assert LETTER in docmill("show", letter, "--prompt").out
    assert docmill("show", letter, "--answer").out == '{"kind":"letter","pages":1}\n'
    waiting = docmill("show", past.jobs["later.txt"], "--answer")
    assert (waiting.code, waiting.out) == (2, "")
    assert "has no answer" in waiting.err


def test_a_document_cannot_drive_the_terminal(docmill: Docmill, past: Past) -> None:
    bad = past.jobs[f"bad{ESCAPE}.txt"]
    for words in (["show", bad], ["watch"], ["status"]):
        said = docmill(*words)
        assert "\x1b" not in said.out + said.err


def test_watch_of_a_finished_submission_sums_it_up(docmill: Docmill, past: Past) -> None:
    said = docmill("watch")
    assert said.code == 1  # two documents are dead
    assert "2 done, 2 dead" in said.out
    assert "Refused" in said.out
    assert "$0.003704 + 1 call of unknown cost (at most $0.002500)" in said.out
    assert "synthetic" in said.out
    summary = docmill("watch", "--json").json
    assert summary["cost_nanousd"] == 3 * COST
    assert summary["synthetic"] is True
    assert summary["states"]["dead"] == 2


@pytest.mark.parametrize("by", ["day", "model", "recipe", "complexity", "submission", "fault"])
def test_costs_add_up_however_they_are_grouped(docmill: Docmill, past: Past, by: str) -> None:
    told = docmill("costs", "--by", by, "--json").json
    assert sum(group["cost_nanousd"] for group in told["groups"]) == told["total"]["cost_nanousd"] == 3 * COST
    assert told["total"]["unknown_calls"] == 1
    assert told["total"]["cost_usd"] == "0.003703701"


def test_costs_keep_the_unknown_apart(docmill: Docmill, past: Past) -> None:
    said = docmill("costs")
    assert "$0.003704" in said.out
    assert "1 call" in said.out
    assert "at most $0.002500 more" in said.err
    assert docmill("costs", "--until", "2020-01-01").out == "no calls in this time\n"
    today = docmill("costs", "--json").json["groups"][0]["group"]
    assert docmill("costs", "--since", today, "--until", today, "--json").json["total"]["calls"] == 4


def test_recipes_include_the_users_own(docmill: Docmill, home: Path) -> None:
    (home / "recipes").mkdir(parents=True)
    own = home / "recipes" / "haiku.toml"
    own.write_text('system = "You are brief."\ninstruction = "As a haiku about {season}."\nmax_tokens = 60\n')
    told = {recipe["name"]: recipe for recipe in docmill("recipes", "--json").json}
    assert told["haiku"]["parameters"] == ["season"]
    assert {"answer", "classify", "extract-entities", "summarize"} < told.keys()
    own.write_text('system = "You are brief."\n')
    broken = docmill("recipes")
    assert broken.code == 2
    assert str(own) in broken.err
    assert broken.err.count("\n") == 1


def test_cancel_ends_what_has_not_ended(docmill: Docmill, past: Past) -> None:
    assert docmill("cancel", past.older, "--json").json["cancelled"] == [past.jobs["later.txt"]]
    assert docmill("results", past.older).lines[0]["state"] == "cancelled"
    assert docmill("cancel", past.older, past.jobs["letter.txt"], "--json").json["cancelled"] == []
    assert docmill("results", past.newer).lines[0]["state"] == "done"
    assert docmill("cancel", "nosuch").code == 2


def test_cancel_leaves_a_document_that_another_submission_waits_for_and_says_so(docmill: Docmill, past: Past) -> None:
    with open_database(Settings().ledger_url) as database:
        other = begin_submission(database, recipe="summarize")
        add(database, other, [an_item(0, "later.txt", "Not now.", SUMMARIZE)])
    job_id = past.jobs["later.txt"]
    said = docmill("cancel", past.older)
    assert said.out == "0 jobs cancelled, 1 left: other submissions wait for the same documents\n"
    assert docmill("results", other).lines[0]["state"] == "queued"
    assert f"submission {past.older} was cancelled; another one waits for it" in docmill("show", job_id).out
    told = docmill("cancel", past.older, other, "--json").json
    assert (told["cancelled"], told["left"]) == ([job_id], [])


def test_in_a_pipe_a_table_line_is_a_line(docmill: Docmill, past: Past) -> None:
    lines = docmill("status").out.splitlines()
    assert all(line == line.rstrip() for line in lines)
    assert "for later" in lines[2]  # the last column is not cut
    assert "\x1b" not in "".join(lines)
