"""Finding the running stack from another terminal."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from config.settings import Settings
from config.stack import NotConfigured, Stack, broker_url, claude_address

URL = "redis://:secret@127.0.0.1:7777/0"


def settings(home: Path, **values: object) -> Settings:
    return Settings.model_validate({"home": home, "anthropic_api_key": "", "anthropic_base_url": "", **values})


def test_another_terminal_finds_broker_and_simulator(tmp_path: Path) -> None:
    Stack(pid=os.getpid(), redis_url=SecretStr(URL), simulator_url="http://127.0.0.1:7").write(tmp_path)
    assert broker_url(settings(tmp_path)) == URL
    assert claude_address(settings(tmp_path))[0] == "http://127.0.0.1:7"


def test_the_password_is_for_the_owner_alone(tmp_path: Path) -> None:
    Stack(pid=os.getpid(), redis_url=SecretStr(URL)).write(tmp_path)
    assert stat.S_IMODE((tmp_path / "stack.json").stat().st_mode) == 0o600
    assert "secret" not in repr(Stack.read(tmp_path))


def test_a_stack_that_died_is_none(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    Stack(pid=ended.pid, redis_url=SecretStr(URL)).write(tmp_path)
    assert Stack.read(tmp_path) is None
    with pytest.raises(NotConfigured, match=r"start `docmill up`"):
        broker_url(settings(tmp_path))


@pytest.mark.parametrize("text", ["", "{", '{"pid": "x"}'])
def test_half_a_file_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "stack.json").write_text(text)
    assert Stack.read(tmp_path) is None


def test_what_was_set_wins(tmp_path: Path) -> None:
    Stack(pid=os.getpid(), redis_url=SecretStr(URL), simulator_url="http://127.0.0.1:7").write(tmp_path)
    own = settings(tmp_path, redis_url="redis://elsewhere/1", anthropic_api_key="sk-1")
    assert broker_url(own) == "redis://elsewhere/1"
    assert claude_address(own) == (None, SecretStr("sk-1"))


def test_a_simulator_elsewhere_is_asked_where_there_is_no_key(tmp_path: Path) -> None:
    Stack(pid=os.getpid(), simulator_url="http://127.0.0.1:7").write(tmp_path)
    elsewhere = {"simulator_url": "http://simulator:8765"}
    assert claude_address(settings(tmp_path, **elsewhere)) == ("http://simulator:8765", SecretStr("simulated"))
    assert claude_address(settings(tmp_path, **elsewhere, anthropic_api_key="sk-1")) == (None, SecretStr("sk-1"))


def test_without_key_and_simulator_the_way_out_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotConfigured, match="ANTHROPIC_API_KEY"):
        claude_address(settings(tmp_path))
