"""The simulator in an asyncio loop: for a test or a bench that wants it in its own process, and for `command`."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from scripts.simulator.api import Api
from scripts.simulator.behaviour import Behaviour
from scripts.simulator.bill import Bill
from scripts.simulator.http_server import HttpServer
from scripts.simulator.wire import Wire

HOST = "127.0.0.1"


class Simulator:
    """Serves from `start` to `stop`, or in an `async with`, at `url`, on the loop that started it.

    Anybody who reaches `host` may read its bill and change its behaviour.
    """

    def __init__(self, behaviour: Behaviour | None = None, *, host: str = HOST, port: int = 0) -> None:
        self._api = Api(behaviour or Behaviour())
        self._server = HttpServer(Wire(self._api).handle)
        self._host, self._port = host, port

    @property
    def url(self) -> str:
        """The base URL for a client."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def bill(self) -> Bill:
        """What was charged so far."""
        return self._api.bill

    def configure(self, **settings: Any) -> None:
        """Change faults, latency, limits or tokens_per_s while running. Raises `ValueError`."""
        self._api.configure(settings)

    def reset(self) -> None:
        """Empty bill, buckets, prompt cache and fault counts."""
        self._api.reset()

    async def start(self) -> None:
        """Listen. Raises `OSError` when the port is taken, or the host is none of ours."""
        self._port = await self._server.start(self._host, self._port)

    async def stop(self) -> None:
        """Close every connection; what was being answered is cut."""
        await self._server.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
