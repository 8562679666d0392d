from __future__ import annotations

from pathlib import Path

import redis

from scripts.stack.valkey import ValkeyServer
from tests.scripts.stack.conftest import runs


def test_a_server_that_a_crash_left_on_the_folder_ends_before_the_next_one_starts(tmp_path: Path) -> None:
    left = ValkeyServer(tmp_path)
    left.start()
    with redis.Redis.from_url(left.url) as client:
        client.set("kept", "yes")
    server = ValkeyServer(tmp_path)
    server.start()
    assert not runs(left.pid)
    with redis.Redis.from_url(server.url) as client:
        assert client.get("kept") == b"yes"
    server.stop()
    left.stop()
