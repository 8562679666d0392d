"""The other end of a channel: an HTTP endpoint and a mail server, on loopback, that do as a test says."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Endpoint:
    """What an HTTP endpoint got, and the statuses it answers with; after the last one, 200. None is no answer."""

    statuses: list[int | None] = field(default_factory=list)
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    location: str = ""
    let_go: threading.Event = field(default_factory=threading.Event)
    url: str = ""


@contextmanager
def http_endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            endpoint.requests.append((dict(self.headers), body))
            status = endpoint.statuses.pop(0) if endpoint.statuses else 200
            if status is None:
                endpoint.let_go.wait(30)
                return
            self.send_response(status)
            if endpoint.location:
                self.send_header("Location", endpoint.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    endpoint.url = f"http://127.0.0.1:{server.server_port}/alerts?token=hunter2"
    with _serving(server):
        yield endpoint
        endpoint.let_go.set()


@dataclass
class MailServer:
    """What a mail server got: envelopes, and messages as they were written. `refuses` is its answer to RCPT."""

    port: int = 0
    recipients: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    refuses: bool = False


@contextmanager
def mail_server() -> Iterator[MailServer]:
    """SMTP as far as a client without TLS or a password needs it."""
    mail = MailServer()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 test ESMTP")
            while line := self.rfile.readline().decode().strip():
                verb = line.split(maxsplit=1)[0].upper()
                if verb == "QUIT":
                    self.say("221 bye")
                    return
                if verb == "DATA":
                    self.say("354 go on")
                    mail.messages.append("".join(self.lines()))
                    self.say("250 kept")
                elif verb == "RCPT" and mail.refuses:
                    self.say("550 nobody here")
                else:
                    if verb == "RCPT":
                        mail.recipients.append(line.partition(":")[2].strip("<> "))
                    self.say("250 fine")

        def lines(self) -> Iterator[str]:
            while (line := self.rfile.readline().decode()) != ".\r\n":
                yield line

        def say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    mail.port = server.server_address[1]
    with _serving(server):
        yield mail


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
