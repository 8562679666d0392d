from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import time

import pytest

from scripts.stack.errors import StackError
from scripts.stack.supervisor import HOPELESS_EXITS
from tests.scripts.stack.conftest import Bench, runs, until


async def test_services_start_in_order_of_their_steps_and_stop_in_order_of_theirs(bench: Bench) -> None:
    supervisor = bench.supervise(
        bench.standin("worker", start=2, stop=1),
        bench.standin("flower", start=3, stop=0),
        bench.standin("valkey", stop=2),
    )
    await supervisor.start()
    await supervisor.stop()
    assert bench.notes() == ["valkey up", "worker up", "flower up", "flower down", "worker down", "valkey down"]
    assert supervisor.pids() == {}


async def test_a_step_waits_until_the_one_before_it_is_ready(bench: Bench) -> None:
    supervisor = bench.supervise(bench.standin("valkey", "gated"), bench.standin("worker", start=1))
    starting = asyncio.create_task(supervisor.start())
    await until(lambda: bench.notes() == ["valkey up"])
    await asyncio.sleep(0.3)  # long enough for a worker that does not wait to show
    assert bench.notes() == ["valkey up"]
    (bench.home / "diary.valkey").touch()
    await starting
    assert bench.notes() == ["valkey up", "worker up"]


async def test_a_service_that_exits_before_it_is_ready_fails_the_start_with_its_last_lines(bench: Bench) -> None:
    supervisor = bench.supervise(bench.standin("valkey"), bench.standin("worker", "broken", start=1))
    with pytest.raises(StackError) as failure:
        await supervisor.start()
    first, *rest = str(failure.value).splitlines()
    assert first == f"worker exited with status 3 before it was ready; its log is {bench.home / 'logs' / 'worker.log'}"
    assert [line.strip() for line in rest] == ["a first line", "no such luck"]
    await supervisor.stop()
    assert bench.notes() == ["valkey up", "worker up", "valkey down"]


async def test_a_program_that_is_not_there_fails_the_start_by_name(bench: Bench) -> None:
    missing = dataclasses.replace(bench.standin("valkey"), command=lambda: ("/nowhere/valkey-server",))
    with pytest.raises(
        StackError, match=r"valkey cannot be started: .*No such file or directory: '/nowhere/valkey-ser"
    ):
        await bench.supervise(missing).start()


async def test_a_start_that_is_given_up_leaves_nothing(bench: Bench) -> None:
    supervisor = bench.supervise(bench.standin("valkey"), bench.standin("worker", "gated", start=1))
    starting = asyncio.create_task(supervisor.start())
    await until(lambda: "worker up" in bench.notes())
    pids = supervisor.pids().values()
    starting.cancel()
    await asyncio.wait([starting])
    await supervisor.stop()
    assert not any(runs(pid) for pid in pids)


async def test_a_killed_service_comes_back_and_the_others_stay(bench: Bench) -> None:
    supervisor = bench.supervise(bench.standin("valkey"), bench.standin("worker", start=1))
    await supervisor.start()
    before = supervisor.pids()
    os.kill(before["worker"], signal.SIGKILL)
    await until(lambda: "worker is ready again" in bench.reports)
    after = supervisor.pids()
    assert after["worker"] != before["worker"]
    assert after["valkey"] == before["valkey"]
    assert bench.reports[0].startswith("worker was ended by SIGKILL; starting it again in 1 s; its log is ")


async def test_a_service_that_cannot_stay_up_is_told_of(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.stack.part.FIRST_WAIT_S", 0.01)
    supervisor = bench.supervise(bench.standin("worker", "gated"))
    (bench.home / "diary.worker").touch()
    await supervisor.start()
    for lives in range(1, HOPELESS_EXITS + 1):
        supervisor.check()
        os.kill(supervisor.pids()["worker"], signal.SIGKILL)
        await until(lambda: bench.reports.count("worker is ready again") == lives)  # noqa: B023
    with pytest.raises(StackError, match="worker exited 5 times in a row; its log is "):
        supervisor.check()


async def test_a_service_that_stays_up_has_recovered(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.stack.part.FIRST_WAIT_S", 0.01)
    monkeypatch.setattr("scripts.stack.part.STEADY_S", 0.01)
    supervisor = bench.supervise(bench.standin("worker"))
    await supervisor.start()
    for lives in range(1, HOPELESS_EXITS + 2):
        os.kill(supervisor.pids()["worker"], signal.SIGKILL)
        await until(lambda: bench.reports.count("worker is ready again") == lives)  # noqa: B023
        await until(lambda: supervisor._parts[0].exits == 0)
    supervisor.check()


@pytest.mark.parametrize(("exits", "wait_s"), [(0, 1), (1, 2), (4, 16), (5, 30), (5000, 30)])
async def test_waits_double_up_to_half_a_minute(bench: Bench, exits: int, wait_s: int) -> None:
    supervisor = bench.supervise(bench.standin("worker"))
    await supervisor.start()
    supervisor._parts[0].exits = exits
    os.kill(supervisor.pids()["worker"], signal.SIGKILL)
    await until(lambda: bench.reports)
    assert f"starting it again in {wait_s} s;" in bench.reports[0]


async def test_a_service_that_does_not_stop_is_killed_with_its_children(bench: Bench) -> None:
    supervisor = bench.supervise(bench.standin("worker", "stubborn", grace_s=2))
    await supervisor.start()
    child = next(int(line.split()[1]) for name, line in bench.heard if line.startswith("child"))
    pid = supervisor.pids()["worker"]
    assert runs(child)
    await supervisor.stop()
    assert bench.notes() == ["worker up", "worker down"]
    assert bench.reports == ["worker did not end within 2 s: killed"]
    await until(lambda: not runs(pid) and not runs(child))


async def test_kill_makes_a_slow_stop_end_at_once(bench: Bench) -> None:
    supervisor = bench.supervise(bench.standin("worker", "stubborn", grace_s=600), bench.standin("valkey", stop=1))
    await supervisor.start()
    pids = supervisor.pids().values()
    stopping = asyncio.create_task(supervisor.stop())
    await until(lambda: "worker down" in bench.notes())
    began = time.monotonic()
    supervisor.kill()
    await stopping
    assert time.monotonic() - began < 10
    assert not any(runs(pid) for pid in pids)


async def test_what_a_service_prints_is_heard_and_kept(bench: Bench) -> None:
    supervisor = bench.supervise(bench.standin("worker"))
    await supervisor.start()
    assert ("worker", "ready") in bench.heard
    assert (bench.home / "logs" / "worker.log").read_text() == "ready\n"
