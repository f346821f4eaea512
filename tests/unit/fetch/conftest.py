"""A clock that only sleeping moves, and a loopback server that answers from a script, faults included.

Refuses to know the service: a script says every byte.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from shdask.settings import Credentials, Deployment


@dataclass
class FakeClock:
    """Seconds that pass in ``sleep`` only; safe for threads."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self) -> float:
        """The time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Lets time pass."""
        with self.lock:
            self.slept.append(seconds)
            self.now += seconds


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer of the script."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    sent_nbytes: int | None = None
    """Bytes of the body that are sent before the connection closes; None sends them all."""
    drip_s: float | None = None
    """Seconds between single bytes of the body."""
    reset: bool = False
    """Reset the connection instead of answering."""
    delay_s: float = 0.0
    """Silence before the head."""


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    method: str = "POST"


class ScriptedServer(ThreadingHTTPServer):
    """Answers the n-th request with the n-th reply, and with the last one from then on."""

    daemon_threads = True

    def __init__(self, replies: tuple[Reply, ...]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies = list(replies)
        self.seen: list[Seen] = []
        self.connections = 0
        self.lock = threading.Lock()
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def next_reply(self, seen: Seen) -> Reply:
        """Notes the request and returns the answer that is due."""
        with self.lock:
            self.seen.append(seen)
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Counts connections."""
        self.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is part of the script."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ScriptedServer

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.next_reply(Seen(self.path, headers, body, self.command))
        self.server.ended.wait(reply.delay_s)
        if reply.reset:
            # linger 0: close() sends RST
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            return
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self._send(reply)

    def _send(self, reply: Reply) -> None:
        if reply.drip_s is not None:
            for position in range(len(reply.body)):
                self.wfile.write(reply.body[position : position + 1])
                if self.server.ended.wait(reply.drip_s):
                    break
        else:
            self.wfile.write(reply.body[: reply.sent_nbytes])
        self.close_connection = reply.sent_nbytes is not None or reply.drip_s is not None

    def log_message(self, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def clock() -> FakeClock:
    """A clock at 1000 s."""
    return FakeClock()


@pytest.fixture
def reply() -> type[Reply]:
    """The class of a scripted answer."""
    return Reply


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedServer]]:
    """Starts a loopback server with the given replies; it ends with the test."""
    running: list[tuple[ScriptedServer, threading.Thread]] = []

    def start(*replies: Reply) -> ScriptedServer:
        server = ScriptedServer(replies)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        running.append((server, thread))
        return server

    yield start
    for server, thread in running:
        server.ended.set()
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


@pytest.fixture
def deploy() -> Callable[..., Deployment]:
    """Makes a deployment at a base URL."""

    def make(base_url: str = "http://127.0.0.1:9", **fields: Any) -> Deployment:
        return Deployment(name="custom", base_url=base_url, token_url=f"{base_url}/token", **fields)

    return make


@pytest.fixture
def credentials() -> Credentials:
    """A client whose secret is easy to find where it must not be."""
    return Credentials(client_id="cid", client_secret="s3cr3t&+/=")


@pytest.fixture
def stopwatch() -> Callable[[], float]:
    """Seconds since the fixture was made."""
    started = time.monotonic()
    return lambda: time.monotonic() - started
