"""Many jobs waiting, on a real worker and beat: the short version of `scripts.bench.backlog`."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.bench.backlog import measure

JOBS = 10_000


@pytest.mark.timeout(120)
def test_a_large_backlog_stays_in_the_ledger_also_when_the_broker_has_forgotten_all_of_it(tmp_path: Path) -> None:
    told = measure(tmp_path, JOBS, watched_s=3)
    assert 0 < told.most_ready < JOBS / 4
    assert 0 < told.most_ready_after_flush < JOBS / 4
    assert told.again_after_s < 30
