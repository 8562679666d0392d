"""Whole docmills for tests: a fresh one, and one that the tests of a module share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.mill import Mill


@pytest.fixture
def mill(tmp_path: Path) -> Iterator[Mill]:
    """A fresh one, whose workers the test starts and may kill."""
    with Mill(tmp_path) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def busy_mill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mill]:
    """One with a running worker, for tests that leave it as they found it."""
    with Mill(tmp_path_factory.mktemp("mill")) as shared:
        shared.start_worker()
        yield shared
