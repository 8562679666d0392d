"""The short version of `scripts.bench.limits`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from scripts.bench.limits.scenarios import TRIALS, letters, no_429s
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


@pytest.mark.parametrize("name", ["itpm", "otpm"])
def test_a_limit_of_tokens_is_used_and_kept_by_two_workers(name: str, tmp_path: Path) -> None:
    scenario = next(trial.scenario for trial in TRIALS if trial.scenario.name == name)
    limits = {**scenario.limits, name: 2 * scenario.limits[name]}
    short = replace(scenario, limits=limits, jobs=250, seconds=4, warm_up_s=4, latency="fixed:0.3", slots=15)
    done = run(short, tmp_path / "home", workers=2)
    assert no_429s(done) == []
    # The bench asks for 94 % of 45 s. Of 4 s, half a second in which a worker gets no CPU is an eighth, and so is the
    # bucket's burst, should the seconds begin with one.
    assert 0.80 < done.use() < 1.125
