"""A real PostgreSQL server for tests and benches: its own folder and port on loopback, stopped by who started it."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psycopg

from scripts.stack.valkey import free_port

DEBIAN = Path("/usr/lib/postgresql")
"""Debian keeps a folder of programs per version here, and none of them in PATH."""


def postgres_programs() -> Path | None:
    """Folder with `initdb` and `postgres`, the newest version's; None where PostgreSQL is not installed."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else []
    folders += sorted(DEBIAN.glob("*/bin"), key=lambda folder: float(folder.parent.name), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


def _drop_root() -> list[str]:
    """PostgreSQL refuses to run as root: the command that runs it as somebody else, empty where we are nobody great."""
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []


class PostgresServer:
    """One server process on loopback; `url` names its `postgres` database."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._programs = programs
        self._process: subprocess.Popen[bytes] | None = None
        self._create()

    @classmethod
    @contextlib.contextmanager
    def temporary(cls, programs: Path) -> Iterator[Self]:
        """A running server whose folder goes away with it.

        Not under pytest's tmp_path, which only its owner may enter: the server may run as somebody else.
        """
        folder = Path(tempfile.mkdtemp(prefix="docmill-postgres-"))
        folder.chmod(0o755)
        server = cls(folder, programs)
        server.start()
        try:
            yield server
        finally:
            server.stop()
            shutil.rmtree(folder)

    @property
    def url(self) -> str:
        """The server's first database as a SQLAlchemy URL. No password: loopback only, while it is used."""
        return self.url_of("postgres")

    def url_of(self, name: str) -> str:
        """A database of this server as a SQLAlchemy URL."""
        return f"postgresql+psycopg://docmill@127.0.0.1:{self.port}/{name}"

    def start(self, *, wait_s: float = 20) -> None:
        """Start and return once it takes connections."""
        command = [
            *(*_drop_root(), str(self._programs / "postgres"), "-D", str(self.folder / "data")),
            *("-h", "127.0.0.1", "-p", str(self.port), "-k", str(self.folder)),
            *("-c", "fsync=off", "-c", "max_connections=50"),
        ]
        with (self.folder / "postgres.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + wait_s
        while True:
            try:
                self._connect("postgres").close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.kill()
                    raise
                time.sleep(0.02)
            else:
                return

    def stop(self, *, wait_s: float = 20) -> None:
        """SIGINT, PostgreSQL's fast shutdown: open sessions are cut, what was committed is kept."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """SIGQUIT, PostgreSQL's immediate shutdown: as a crash, without leaving its children behind."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None

    def new_database(self, name: str, *, template: str = "template1", encoding: str = "UTF8") -> str:
        """Make a database, a copy of `template`, and return its SQLAlchemy URL."""
        command = psycopg.sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING {}")
        names = psycopg.sql.Identifier(name), psycopg.sql.Identifier(template), psycopg.sql.Literal(encoding)
        with self._connect("postgres") as connection:
            connection.execute(command.format(*names))
        return self.url_of(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is still connected to it."""
        with self._connect("postgres") as connection:
            connection.execute(psycopg.sql.SQL("DROP DATABASE {} WITH (FORCE)").format(psycopg.sql.Identifier(name)))

    def _connect(self, name: str) -> psycopg.Connection:
        return psycopg.connect(host="127.0.0.1", port=self.port, user="docmill", dbname=name, autocommit=True)

    def _create(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            owner = pwd.getpwnam("nobody")
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        subprocess.run(
            [
                *(*_drop_root(), str(self._programs / "initdb"), "-D", str(self.folder / "data")),
                *("-U", "docmill", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"),
            ],
            cwd=self.folder,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
