"""A worker that has lost its credit gets it back."""

from __future__ import annotations

import time

import pytest

from tests.workers.transport.conftest import System, wait_for


@pytest.mark.parametrize("remote_control", ["on", "off"])
def test_lost_credit_is_back_within_12_seconds(system: System, remote_control: str) -> None:
    system.start_worker("--pool=threads", "--concurrency=3", LOSE_CREDIT=1, REMOTE_CONTROL=remote_control)
    system.app.send_task("work", ("lost",), queue="lane")  # the app of these workers loses this one's request
    wait_for(lambda: "credit gone" in system.log())
    gone = time.monotonic()
    system.app.send_task("work", ("waiting",), queue="lane")
    wait_for(lambda: "waiting" in system.executions())
    assert time.monotonic() - gone < 30  # 12 s are the promise, for a machine that does nothing else
    assert "no credit and no task" in system.log()
