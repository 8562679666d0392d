"""Counting tokens against the simulator over HTTP: what it says, and that nobody is billed for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from config.recipe import Recipe
from config.settings import Settings
from config.stack import NotConfigured
from scripts.simulator.process import SimulatorProcess
from scripts.stack.valkey import free_port
from tasks.model.fault import Fault, Unauthorized, Unreachable
from tasks.rules.prompting import write_prompt
from tests.values import HAIKU, SORT, SUMMARIZE, a_document, a_route
from workers.claude import ClaudeClient
from workers.claude.counts import MOST_COUNTED, TokenCounts

SECRET = "PLANTED-TEXT"
PROMPT = write_prompt(a_document(f"{SECRET} a letter"), SUMMARIZE, {})


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(seed=7) as running:
        yield running


def settings_of(url: str, key: str = "sk-x") -> Settings:
    return Settings(anthropic_api_key=SecretStr(key), anthropic_base_url=url, connect_timeout_s=10)


@pytest.mark.parametrize("recipe", [SUMMARIZE, SORT])
async def test_a_count_is_what_is_billed_and_costs_nothing(simulator: SimulatorProcess, recipe: Recipe) -> None:
    prompt = write_prompt(a_document("Dear Anna, " * 500), recipe, {})
    before = len(simulator.rows())
    settings = settings_of(simulator.url)
    async with ClaudeClient(
        settings, base_url=simulator.url, api_key=settings.anthropic_api_key, connections=2
    ) as claude:
        counted = await claude.count_tokens(prompt, a_route())
        assert len(simulator.rows()) == before
        assert counted == (await claude.ask(prompt, a_route())).usage.prompt


@pytest.mark.parametrize(("key", "kind"), [("bad-key", Unauthorized), ("sk-x", Unreachable)])
async def test_trouble_is_a_fault_without_the_prompt(simulator: SimulatorProcess, key: str, kind: type[Fault]) -> None:
    url = simulator.url if kind is Unauthorized else f"http://127.0.0.1:{free_port()}"
    async with ClaudeClient(settings_of(url), base_url=url, api_key=SecretStr(key), connections=2) as claude:
        with pytest.raises(kind) as caught:
            await claude.count_tokens(PROMPT, a_route())
    assert caught.value.__context__ is None
    assert SECRET not in str(caught.value)


def test_a_command_counts_a_few_at_once_and_so_many_in_all(simulator: SimulatorProcess) -> None:
    with TokenCounts(settings_of(simulator.url)) as counts:
        first = counts([(PROMPT, a_route())] * 3)
        assert len(set(first)) == 1
        assert first[0]
        assert counts([(PROMPT, a_route())] * (MOST_COUNTED - 1)) == [*first[:1] * (MOST_COUNTED - 3), None, None]
        assert counts([(PROMPT, a_route())]) == [None]
        assert counts.trouble is None


def test_a_command_that_reaches_nobody_stops_asking() -> None:
    with TokenCounts(settings_of(f"http://127.0.0.1:{free_port()}")) as counts:
        assert counts([(PROMPT, a_route(model=HAIKU))] * 2) == [None, None]
        assert counts.trouble is not None
        assert counts([(PROMPT, a_route())]) == [None]


def test_without_a_key_and_a_simulator_there_is_nobody_to_ask(tmp_path: Path) -> None:
    with pytest.raises(NotConfigured):
        TokenCounts(Settings(home=tmp_path, anthropic_api_key=SecretStr(""), anthropic_base_url=""))
