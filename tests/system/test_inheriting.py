"""What a dead worker leaves is seen to by its neighbours on the machine, wherever sweeps land, or where none come."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.model.job import JobState
from tests.system.mill import Mill


@pytest.mark.timeout(120)
def test_a_living_worker_inherits_without_a_sweep(tmp_path: Path) -> None:
    (tmp_path / "catalogue.toml").write_text("[lanes.low]\nconcurrency = 5\n")
    with Mill(tmp_path) as mill:
        doomed = mill.start_worker()
        receipt = mill.submit([f"{{{{sim:latency:30}}}} Letter {n}." for n in range(5)])
        mill.until(lambda: mill.in_flight() == 5, "all calls are under way")
        mill.start_worker()
        doomed.kill()
        doomed.wait()
        mill.until(lambda: mill.states(receipt) == {JobState.UNCERTAIN: 5}, "they are left to a person")
