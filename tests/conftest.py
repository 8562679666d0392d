"""Real servers for the tests: each on its own free port and in its own folder, stopped by the test that started it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.stack.valkey import ValkeyServer
from tests.postgres import postgres

__all__ = ["postgres"]

# Started in the background, a shell has us ignore Ctrl-C, and so would every process that a test means to interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A fresh Valkey for one test, which may kill and restart it."""
    server = ValkeyServer(tmp_path / "valkey")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def shared_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """One Valkey for the tests of this process that only need a broker; use your own queue names."""
    server = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()
