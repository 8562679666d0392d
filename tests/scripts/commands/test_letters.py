"""`dead` and `uncertain` on a ledger with letters in it; a broker where something is published."""

from __future__ import annotations

import io
import re
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import update

from config.settings import Settings
from scripts.stack.valkey import ValkeyServer
from tests.scripts.commands.conftest import ESCAPE, Docmill, Past, an_item
from tests.values import SUMMARIZE
from workers.ledger import add, begin_submission, open_database
from workers.ledger.tables import jobs

BAD = f"bad{ESCAPE}.txt"
NOTHING_CHANGED = ("dead", "--json")


class Terminal(io.StringIO):
    """A person at the keyboard who types one line."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def broker(valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> ValkeyServer:
    monkeypatch.setenv("DOCMILL_REDIS_URL", valkey.url)
    return valkey


@pytest.fixture
def one_job(docmill: Docmill, home: Path) -> str:
    """The only job there is, so that the beginning of every id is its own."""
    with open_database(Settings().ledger_url) as database:
        (added,) = add(database, begin_submission(database, recipe="summarize"), [an_item(0, "a.txt", "A.", SUMMARIZE)])
    return added.job_id


@pytest.fixture
def uncertain(past: Past) -> str:
    """The job of slow.txt as a lost worker leaves it."""
    with open_database(Settings().ledger_url) as database:
        aside = update(jobs).where(jobs.c.id == past.jobs["slow.txt"]).values(state="uncertain")
        database.write(lambda connection: connection.execute(aside))
    return past.jobs["slow.txt"]


def test_the_list_groups_what_went_wrong_alike(docmill: Docmill, past: Past) -> None:
    told = docmill("dead", "--json").json
    assert told["letters"] == 2
    assert {(group["fault"], group["lane"], group["letters"]) for group in told["groups"]} == {
        ("Refused", "docmill.low", 1),
        ("TimedOut", "docmill.low", 1),
    }
    (timed_out,) = docmill("dead", "--fault", "TimedOut", "--json").json["groups"]
    assert (timed_out["message"], timed_out["example"]) == ("silent for # s", past.jobs["slow.txt"])
    said = docmill("dead").out
    assert "TimedOut" in said
    assert timed_out["fingerprint"] in said
    assert docmill("dead", "--fingerprint", timed_out["fingerprint"][:5], "--json").json["letters"] == 1


def test_each_letter_is_listed_and_cannot_drive_the_terminal(docmill: Docmill, past: Past) -> None:
    said = docmill("dead", "--each").out
    assert ESCAPE not in said
    assert past.jobs[BAD] in said
    each = docmill("dead", "--each", "--message", "SILENT", "--json").json["each"]
    assert [letter["job_id"] for letter in each] == [past.jobs["slow.txt"]]


@pytest.mark.parametrize(
    ("words", "letters"),
    [
        (["--submission", "latest"], 2),
        (["--recipe", "summarize", "--complexity", "low"], 2),
        (["--complexity", "high"], 0),
        (["--newer", "1h"], 2),
        (["--older", "1h"], 0),
        (["--since", "2026-01-01", "--until", "2026-01-02T10:30"], 0),
        (["--status", "400"], 0),
    ],
)
def test_conditions_narrow_the_list(docmill: Docmill, past: Past, words: list[str], letters: int) -> None:
    assert docmill("dead", *words, "--json").json["letters"] == letters


@pytest.mark.parametrize(
    ("option", "said", "told"),
    [
        ("--older", "99999999999d", "is beyond 100 years"),
        ("--newer", "1000000d", "is beyond 100 years"),
        ("--older", "9" * 5_000 + "s", "is beyond 100 years"),
        ("--older", "a week", "is no span"),
        ("--since", "0001-01-01T00:00+14:00", "is no time"),
        ("--until", "9999-12-31T23:00-12:00", "is no time"),
        ("--until", "yesterday", "is no time"),
    ],
)
def test_a_time_that_there_is_not_is_told_in_one_line(
    docmill: Docmill, past: Past, option: str, said: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        docmill("dead", option, said)
    assert ended.value.code == 2
    last_line = capsys.readouterr().err.splitlines()[-1]
    assert last_line.startswith(f"docmill dead: error: argument {option}: ")
    assert told in last_line


def test_a_span_of_100_years_means_all(docmill: Docmill, past: Past) -> None:
    assert docmill("dead", "--newer", "36500d", "--json").json["letters"] == 2
    assert docmill("dead", "--older", "36500d", "--json").json["letters"] == 0
    assert docmill("dead", "--since", "0001-01-01T00:00+00:00", "--json").json["letters"] == 2


def test_show_tells_every_attempt_with_its_cost(docmill: Docmill, past: Past) -> None:
    told = docmill("dead", "show", past.jobs[BAD], "--json").json
    (cause,) = told["causes"]
    assert (cause["what"], cause["fault"]["kind"], cause["fault"]["request_id"]) == ("buried", "Refused", "req_2")
    assert [call["cost_nanousd"] for call in cause["calls"]] == [1_234_567]
    assert cause["request_ids"] == ["req_2", "req_1"]
    said = docmill("dead", "show", past.jobs["slow.txt"]).out
    assert "TimedOut: silent for 30 s" in said
    assert "unknown" in said


@pytest.mark.parametrize("verb", ["replay", "discard"])
def test_nothing_named_is_refused(docmill: Docmill, past: Past, verb: str) -> None:
    said = docmill("dead", verb, "--yes")
    assert said.code == 2
    assert said.err == "docmill: no letters named: give ids or a filter, or --all to mean every one\n"
    assert docmill(*NOTHING_CHANGED).json["letters"] == 2


@pytest.mark.parametrize("option", ["--fault", "--message", "--fingerprint", "--submission", "--recipe"])
def test_empty_text_is_no_condition(
    docmill: Docmill, past: Past, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb, blank in (("replay", ""), ("discard", ""), ("discard", " ")):
        with pytest.raises(SystemExit) as ended:
            docmill("dead", verb, option, blank, "--yes")
        assert ended.value.code == 2
        assert capsys.readouterr().err.endswith(f"error: argument {option}: {blank!r} is empty: leave the option out\n")
    assert docmill(*NOTHING_CHANGED).json["letters"] == 2


@pytest.mark.parametrize(
    "words",
    [("dead", "discard", "--yes"), ("dead", "replay", "--yes"), ("dead", "show"), ("cancel",), ("show",), ("status",)],
)
def test_an_id_without_a_digit_names_nothing(
    docmill: Docmill, one_job: str, broker: ValkeyServer, words: tuple[str, ...]
) -> None:
    for said in ("", "job-", "sub-"):
        told = docmill(*words, said)
        assert told.code == 2
        assert re.fullmatch(rf"docmill: no (submission|job|submission or job) '{said}': .*\n", told.err)
    assert docmill("show", one_job, "--json").json["job"]["state"] == "queued"


@pytest.mark.parametrize("verb", ["replay", "discard"])
@pytest.mark.parametrize("how", ["--dry-run", "--yes"])
def test_an_id_that_is_no_letter_is_named_and_nothing_is_done(
    docmill: Docmill, past: Past, broker: ValkeyServer, verb: str, how: str
) -> None:
    dead, done, queued = past.jobs[BAD], past.jobs["note.txt"], past.jobs["later.txt"]
    said = docmill("dead", verb, dead, done, queued, how)
    assert said.code == 2
    assert said.err == f"docmill: job {done} is done, job {queued} is queued: no dead letter, so nothing to {verb}\n"
    assert docmill(*NOTHING_CHANGED).json["letters"] == 2


@pytest.mark.parametrize("verb", ["replay", "discard"])
def test_in_a_pipe_nobody_can_be_asked(
    docmill: Docmill, past: Past, broker: ValkeyServer, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    said = docmill("dead", verb, "--all")
    assert said.code == 2
    assert "--yes" in said.err
    assert docmill(*NOTHING_CHANGED).json["letters"] == 2


@pytest.mark.parametrize(("answer", "left"), [("\n", 2), ("n\n", 2), ("y\n", 1)])
def test_a_person_is_shown_the_preview_and_asked(
    docmill: Docmill, past: Past, broker: ValkeyServer, answer: str, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    said = docmill("dead", "replay", past.jobs[BAD])
    assert "first attempts cost at most $" in said.err
    assert "[y/N]" in said.err
    assert said.code == (0 if left == 1 else 1)
    assert docmill(*NOTHING_CHANGED).json["letters"] == left


def test_a_dry_run_tells_all_and_changes_nothing(docmill: Docmill, past: Past) -> None:
    words = ("dead", "replay", "--all", "--dry-run", "--max-tokens", "4000", "--to-complexity", "high")
    told = docmill(*words, "--json").json
    assert (told["letters"], told["same"], told["new"], told["unpriced"]) == (2, 0, 2, 0)
    assert told["changes"]["max_tokens: 500 -> 4,000"] == 2
    assert told["changes"]["complexity: low -> high"] == 2
    # Sonnet 4.6: $3 in, $15 out for a million, a tenth more in the US; the prompt's characters at two to a token
    sent = [len("Unspeakable."), len("Slow.")]
    tokens = [(n + len("You summarize.") + len("Summarize it.")) // 2 + 1 for n in sent]
    assert told["estimate_nanousd"] == sum(n * 3_300 + 4_000 * 16_500 for n in tokens)
    said = docmill(*words, "--per-minute", "1")
    assert "2 new jobs would take an old one's place" in said.out
    assert "1 a minute" in said.out
    assert docmill(*NOTHING_CHANGED).json["letters"] == 2
    assert docmill("dead", "discard", "--all", "--dry-run", "--json").json == {"letters": 2, "dry_run": True}


def test_a_model_without_a_price_has_an_unknown_cost(docmill: Docmill, past: Past, home: object) -> None:
    assert docmill("dead", "replay", "--all", "--model", "claude-9", "--yes").err.startswith(
        "docmill: no model 'claude-9'"
    )
    catalogue = Settings().home / "catalogue.toml"
    catalogue.write_text(
        '[models."claude-9"]\nwindow_tokens = 1\nmax_output_tokens = 9\nmax_pdf_pages = 1\ncache_floor_tokens = 1\n'
    )
    told = docmill("dead", "replay", "--all", "--model", "claude-9", "--dry-run", "--json").json
    assert (told["unpriced"], told["estimate_nanousd"]) == (2, 0)
    assert "unknown cost" in docmill("dead", "replay", "--all", "--model", "claude-9", "--dry-run").out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--to-recipe", "none"], "no recipe 'none'"),
        (["--to-recipe", "answer"], "needs a question: give --set question='...'"),
        (["--set", "tone=kind"], "takes no 'tone'"),
    ],
)
def test_a_change_that_does_not_do_is_told_before_anything_is_done(
    docmill: Docmill, past: Past, broker: ValkeyServer, words: list[str], told: str
) -> None:
    said = docmill("dead", "replay", "--all", "--yes", *words)
    assert said.code == 2
    assert told in said.err
    assert docmill(*NOTHING_CHANGED).json["letters"] == 2


def test_a_paced_replay_waits_for_its_time(docmill: Docmill, past: Past, broker: ValkeyServer) -> None:
    assert docmill("dead", "replay", "--all", "--per-minute", "1", "--yes", "--json").json["replayed"] == 2
    ids = sorted([past.jobs[BAD], past.jobs["slow.txt"]])
    moments = [datetime.fromisoformat(docmill("show", id_, "--json").json["job"]["not_before"]) for id_ in ids]
    assert (moments[1] - moments[0]).total_seconds() == 60
    assert docmill("dead", "replay", *ids, "--yes").err == (
        f"docmill: job {ids[0]} is queued, job {ids[1]} is queued: no dead letter, so nothing to replay\n"
    )


def test_a_changed_job_and_the_old_one_name_each_other(docmill: Docmill, past: Past, broker: ValkeyServer) -> None:
    old = past.jobs["slow.txt"]
    assert docmill("dead", "replay", old, "--max-tokens", "900", "--yes", "--json").json["created"] == 1
    told = docmill("show", old, "--json").json["job"]
    new = told["replayed_as"]
    assert told["state"] == "cancelled"
    assert docmill("show", new, "--json").json["job"]["replay_of"] == old
    assert f"replayed as {new}" in docmill("show", old).out
    assert f"replay of {old}" in docmill("show", new).out
    (line,) = [line for line in docmill("results").lines if line["name"] == "slow.txt"]
    assert (line["job_id"], line["state"]) == (new, "queued")


def test_without_a_broker_nothing_is_moved(docmill: Docmill, past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    assert docmill("dead", "replay", "--all", "--yes").code == 2
    monkeypatch.setenv("DOCMILL_REDIS_URL", "redis://127.0.0.1:1/0")
    assert docmill("dead", "replay", "--all", "--yes").code == 2
    assert docmill(*NOTHING_CHANGED).json["letters"] == 2


def test_discarded_is_gone_from_the_list_and_not_from_the_ledger(docmill: Docmill, past: Past) -> None:
    assert docmill("dead", "discard", "--fault", "Refused", "--yes").out == "1 dead letter discarded\n"
    assert docmill(*NOTHING_CHANGED).json["letters"] == 1
    assert docmill("show", past.jobs[BAD], "--json").json["calls"]


def test_an_uncertain_job_has_its_own_list_and_a_warning(
    docmill: Docmill, past: Past, uncertain: str, broker: ValkeyServer
) -> None:
    assert docmill("dead", "--json").json["letters"] == 1
    assert docmill("uncertain", "--json").json["groups"][0]["example"] == uncertain
    said = docmill("uncertain", "replay", "--all", "--dry-run").out
    assert "warning: Claude may have answered and billed these already" in said
    assert "at most $0.002500" in said
    refused = docmill("dead", "replay", uncertain, "--yes")
    assert refused.code == 2
    assert refused.err == f"docmill: job {uncertain} is uncertain: no dead letter, so nothing to replay\n"
    assert docmill("uncertain", "replay", uncertain, "--yes").out == "1 job replayed\n"
    assert docmill("uncertain").out == "no uncertain job here\n"
