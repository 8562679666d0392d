"""The product's own stack, for real: Valkey, simulator, workers, beat and Flower as processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from celery import Celery

from config.stack import Stack
from scripts.stack.part import ROOT
from scripts.stack.valkey import free_port
from tests.scripts.stack.conftest import runs, until

UP = """
import sys
from config.settings import Settings
from scripts.stack import StackError
from scripts.stack.running import in_foreground
from scripts.stack.services import Parts
try:
    sys.exit(in_foreground(Settings(), Parts({parts})))
except StackError as error:
    sys.exit(str(error))
"""
RUN = """
import time
from config.settings import Settings
from scripts.stack.running import in_background
from scripts.stack.services import Parts
with in_background(Settings(), Parts({parts})) as stack:
    print("ready:", flush=True)
    time.sleep(600)
"""
SUBMIT = """
from config.settings import Settings
from workers.producer import Producer, Wish
with Producer.open(Settings()) as producer:
    producer.submit([{parts}], Wish(recipe="summarize"))
"""


class Terminal:
    """One terminal: a program, what it printed, and the processes it started."""

    def __init__(self, process: subprocess.Popen[str], home: Path) -> None:
        self.process = process
        self.home = home
        self.lines: list[str] = []

    def read_until(self, text: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if text in line:
                return line
        raise AssertionError("\n".join([f"no {text!r} in:", *self.lines]))

    def said(self) -> list[str]:
        """What the supervisor said, first to last."""
        return [line.partition("| ")[2] for line in self.lines if line.startswith("docmill")]

    def children(self) -> dict[int, str]:
        """Arguments of every process it started, by pid."""
        found = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = path.read_text().rpartition(")")[2].split()[1]
                if int(parent) == self.process.pid:
                    found[int(path.parent.name)] = path.with_name("cmdline").read_bytes().decode().replace("\0", " ")
            except (FileNotFoundError, ProcessLookupError):
                continue
        return found


@contextmanager
def terminal(program: str, parts: str, home: Path, **environment: str) -> Iterator[Terminal]:
    """Run the program as a user would whose current folder has packages of our names."""
    folder = home.parent / "elsewhere"
    for package in ("config", "tasks", "workers", "scripts"):
        (folder / package).mkdir(parents=True, exist_ok=True)
        (folder / package / "__init__.py").write_text("raise RuntimeError('the wrong package')")
    with subprocess.Popen(
        [sys.executable, "-c", program.format(parts=parts)],
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PYTHONSAFEPATH": "1",
            "DOCMILL_HOME": str(home),
            **environment,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield Terminal(process, home)
        finally:
            process.kill()  # the guard does the rest


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.mark.timeout(120)
async def test_up_runs_every_part_from_any_folder_tells_no_secret_and_stops_in_order(home: Path) -> None:
    with terminal(UP, f"workers=2, beat=True, flower=True, flower_port={free_port()}", home) as up:
        up.read_until("| ready: ")
        children = up.children()
        assert len(children) == 7  # Valkey, simulator, two workers, beat, Flower and the guard

        stack = Stack.read(home)
        assert stack is not None
        assert stack.redis_url is not None
        broker = stack.redis_url.get_secret_value()
        password = (home / "valkey" / "valkey.password").read_text()
        assert password in broker
        assert not [arguments for arguments in children.values() if password in arguments]

        with redis.Redis.from_url(broker) as client:
            assert client.ping()
        assert fetched(f"{stack.flower_url}/healthcheck") == b"OK"
        with Celery(broker=broker, set_as_current=False) as app:
            replies = app.control.ping(timeout=5) or []
        assert {name.partition("@")[0] for reply in replies for name in reply} == {"worker-1", "worker-2"}

        with terminal(UP, "", home) as second:
            second.process.wait()
            told = second.process.stdout.read() if second.process.stdout else ""
            assert told == f"process {up.process.pid} already runs a stack in {home}: stop it, or set DOCMILL_HOME\n"

        up.process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(up.process.wait) == 0
        up.read_until("stopping valkey")
        stopped = [line.removeprefix("stopping ") for line in up.said() if line.startswith("stopping ")]
        assert stopped[:2] == ["flower", "beat"]
        assert sorted(stopped[2:4]) == ["worker-1", "worker-2"]
        assert stopped[4:] == ["simulator", "valkey"]
        assert not [pid for pid in children if runs(pid)]
        assert Stack.read(home) is None
        assert not any(password in log.read_text() for log in (home / "logs").iterdir())


@pytest.mark.timeout(120)
async def test_a_killed_worker_comes_back_and_a_killed_up_leaves_nothing(home: Path) -> None:
    with terminal(UP, "", home) as up:
        up.read_until("| ready: ")
        worker = next(pid for pid, arguments in up.children().items() if "worker-1" in arguments)
        os.kill(worker, signal.SIGKILL)
        up.read_until("worker-1 was ended by SIGKILL; starting it again in 1 s")
        up.read_until("worker-1 is ready again")
        children = up.children()
        up.process.kill()
        await until(lambda: not any(runs(pid) for pid in children))
        assert not (home / "stack.json").exists()


@pytest.mark.timeout(120)
async def test_a_second_ctrl_c_does_not_wait_for_the_calls_in_flight(home: Path, tmp_path: Path) -> None:
    parts = "simulator=('--latency', 'fixed:600')"
    with terminal(UP, parts, home, DOCMILL_DRAIN_TIMEOUT_S="600") as up:
        up.read_until("| ready: ")
        (tmp_path / "letter.txt").write_text("Dear Sir or Madam")
        with terminal(SUBMIT, repr(str(tmp_path / "letter.txt")), home) as submit:
            assert await asyncio.to_thread(submit.process.wait) == 0
        stack = Stack.read(home)
        assert stack is not None
        await until(lambda: requests_in_flight(stack) == 1)
        children = up.children()
        up.process.send_signal(signal.SIGINT)
        up.read_until("stopping worker-1")
        assert [pid for pid, arguments in children.items() if "worker-1" in arguments and runs(pid)]
        up.process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(up.process.wait) == 130
        assert not [pid for pid in children if runs(pid)]


def fetched(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - on loopback
        content: bytes = answer.read()
    return content


def requests_in_flight(stack: Stack) -> object:
    return json.loads(fetched(f"{stack.simulator_url}/_sim/bill?totals=1"))["totals"]["in_flight"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, -2)])
async def test_run_stops_its_stack_however_it_is_asked_to_go(home: Path, number: signal.Signals, code: int) -> None:
    with terminal(RUN, "workers=0", home, ANTHROPIC_BASE_URL="http://127.0.0.1:9") as run:  # Valkey alone
        run.read_until("ready:")
        children = run.children()
        assert len(children) == 2  # with the guard
        run.process.send_signal(number)
        assert await asyncio.to_thread(run.process.wait) == code
        assert not [pid for pid in children if runs(pid)]
        assert not (home / "stack.json").exists()
