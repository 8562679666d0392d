"""The Celery app of the worker processes that these tests start.

A task appends one line per execution to a file, which survives whatever the test kills.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from celery import Celery

from workers.transport import LaneLimits, install

limits = LaneLimits(json.loads(os.environ.get("LANE_LIMITS", "{}")))
app = Celery("transport-tests", broker=os.environ.get("BROKER_URL"))
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    worker_send_task_events=False,
    worker_enable_remote_control=os.environ.get("REMOTE_CONTROL", "on") == "on",
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "visibility_timeout": float(os.environ.get("VISIBILITY_S", "3600")),
        "unacked_restore_interval": 1,
        "socket_timeout": 10,
        "socket_connect_timeout": 2,
        "lane_limits": limits,
    },
)
install(app)


def note(event: str, name: object) -> None:
    """Append `event name time` to the file of executions."""
    with Path(os.environ["EXECUTIONS"]).open("a") as file:
        file.write(f"{event} {name} {time.time()} {os.getpid()}\n")


@app.task(name="work")
def work(name: object, seconds: float = 0) -> None:
    """Take `seconds`."""
    note("start", name)
    time.sleep(seconds)
    note("end", name)


@app.task(name="work_until")
def work_until(name: object, path: str) -> None:
    """Run until the file `path` is there."""
    note("start", name)
    while not Path(path).exists():
        time.sleep(0.05)
    note("end", name)


@app.task(name="retry_once", bind=True, max_retries=3)
def retry_once(self: object, name: object, countdown_s: float) -> None:
    """Fail the first time and ask for another in `countdown_s`."""
    note("start", name)
    if self.request.retries == 0:  # type: ignore[attr-defined]  # Celery's bound task
        raise self.retry(countdown=countdown_s)  # type: ignore[attr-defined]  # as above
    note("end", name)


if os.environ.get("LOSE_CREDIT"):

    @app.on_after_finalize.connect
    def lose_the_first(sender: Celery, **_: object) -> None:
        """Take all credit for messages that nobody works on, once, as a fault in the worker would."""
        from celery import signals

        done: list[bool] = []

        @signals.task_received.connect(weak=False)
        def lose(sender: Any, request: Any, **_: object) -> None:
            if done:
                return
            done.append(True)
            held = request.message.channel.qos.held
            held.add(f"lane/{held.next_ticket()}{n}" for n in range(10))
            print("credit gone", flush=True)
