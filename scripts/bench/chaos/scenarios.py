"""Every scenario: what dies when, and on what. Each is bounded by what it does and by `scene.WITHIN_S`."""

from __future__ import annotations

from functools import partial

from scripts.bench.chaos.harms import broker, poison, storage, storms, workers
from scripts.bench.chaos.scenario import Scenario

ONE_RETRY = "{{sim:500x1}}"
SLOW = "{{sim:latency:20}}"
KILLS = "{{sim:latency:3}}"
"""A call that lasts until its worker is killed."""

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("kill-hold", workers.kill_workers),
        Scenario("kill-hold-retried", workers.kill_workers, markers=ONE_RETRY),
        Scenario("kill-retry", workers.kill_workers, on_crash="retry"),
        Scenario("kill-retry-retried", workers.kill_workers, on_crash="retry", markers=ONE_RETRY),
        Scenario("kill-two-beats", workers.kill_workers, beats=2),
        Scenario("kill-noticed", workers.kill_a_busy_worker, special=dict.fromkeys(range(60), SLOW)),
        Scenario("stop-kill-hold", workers.stop_and_kill_workers),
        Scenario("stop-kill-retry", workers.stop_and_kill_workers, on_crash="retry"),
        Scenario("stop-continue", partial(workers.stop_and_continue_a_worker, stopped_s=120)),
        Scenario("rolling-restart", workers.restart_in_turn, clean=True),
        Scenario("restart-hold", workers.restart_amid_calls, special=dict.fromkeys(range(60), SLOW)),
        Scenario("restart-retry", workers.restart_amid_calls, special=dict.fromkeys(range(60), SLOW), on_crash="retry"),
        Scenario(
            "killer", workers.kill_who_runs_the_killer, on_crash="retry", special={0: KILLS}, may_die=1, clean=True
        ),
        Scenario("broker-killed", broker.kill_broker, clean=True),
        Scenario("broker-flushed", broker.flush_broker, markers=ONE_RETRY, clean=True),
        Scenario("broker-away", broker.broker_away, latency="uniform:2,4", clean=True),
        Scenario(
            "long-countdown",
            broker.wait_beyond_the_visibility_timeout,
            markers=ONE_RETRY,
            settings={"visibility_timeout_s": 1},  # a first retry waits for up to 2 s
            clean=True,
        ),
        Scenario("retry-refused", partial(broker.retries_unpublished, away=False), markers=ONE_RETRY, clean=True),
        Scenario("retry-away", partial(broker.retries_unpublished, away=True), markers=ONE_RETRY, clean=True),
        Scenario("postgres-restarted", storage.restart_postgres, postgres=True, clean=True),
        Scenario("sqlite-locked", storage.lock_sqlite, clean=True),
        Scenario("disk-full", storage.fill_the_disk, small_disk=True, clean=True),
        Scenario("poison", poison.throw_poison, clean=True),
        Scenario("storm-529", partial(storms.storm, lasts_s=60), clean=True),
    )
}
"""By name, in the order they are run."""
