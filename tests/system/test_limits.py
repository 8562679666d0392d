"""The short version of `scripts.bench.limits`."""

from __future__ import annotations

from pathlib import Path

from scripts.bench.limits.scenarios import letters
from scripts.bench.limits.scene import Scenario, run

RPM = 900


def test_a_limit_is_used_and_kept_by_two_workers(tmp_path: Path) -> None:
    scenario = Scenario(
        "short", {"rpm": RPM, "burst_s": 1}, letters(100, 20), jobs=180, seconds=5, warm_up_s=3, latency="fixed:0.3"
    )
    done = run(scenario, tmp_path / "home", workers=2, to_the_end=True)
    assert done.states == {"done": 180}
    assert 0.85 < done.use() < 1
    assert len(done.limited) <= 3  # a worker that gets no CPU for half a second sends in a bunch
