"""`run` with a key that Claude does not accept: it says so, loses nothing, and goes on with a good one."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts.simulator.process import SimulatorProcess
from tests.scripts.commands.conftest import Docmill
from tests.scripts.commands.test_stack import PATIENCE_S, environment, letters, read_until


@pytest.mark.timeout(150)
def test_a_bad_key_is_told_and_loses_nothing(home: Path, tmp_path: Path, docmill: Docmill) -> None:
    folder = letters(tmp_path / "post", 2)
    with SimulatorProcess(seed=1) as claude:
        command = [sys.executable, "-m", "scripts.cli", "run", str(folder)]
        running = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(home, ANTHROPIC_API_KEY="bad-key", ANTHROPIC_BASE_URL=claude.url),
            start_new_session=True,
        )
        said = read_until(running, "→")
        while [result["state"] for result in docmill("results").lines] != ["parked"] * 2:
            time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        assert running.stdout is not None
        said += running.stdout.read()
        running.stdout.close()
        assert running.wait(PATIENCE_S) == 130
        assert "paused: the API key is not accepted (401 authentication_error)" in said
        assert "set a valid ANTHROPIC_API_KEY" in said
        assert "2 parked" in said
        assert "bad-key" not in said
        mended = environment(home, ANTHROPIC_API_KEY="good-key", ANTHROPIC_BASE_URL=claude.url)
        subprocess.run(command, env=mended, check=True, timeout=PATIENCE_S, capture_output=True)
        assert len([row for row in claude.rows() if row["charged"]]) == 2
    assert [result["attempts"] for result in docmill("results").lines] == [1, 1]
