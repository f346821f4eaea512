"""A real S3 on this machine, one for all tests, and a way to make it fail."""

from __future__ import annotations

import http.client
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dask
import pytest

from shdask.plan.group import GroupPlan
from tests.seaweed import Keys, Server, start_seaweed
from tests.unit.assemble.conftest import Pixels, small_plan

BUCKET = "cubes"
ADMIN = Keys(key_id="admin-key", secret="admin-secret")
WRITER = Keys(key_id="writer-key", secret="writer-secret", actions=("Read", "Write", "List"))
READER = Keys(key_id="reader-key", secret="reader-secret", actions=("Read", "List"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """SeaweedFS, started once."""
    with start_seaweed(tmp_path_factory.mktemp("seaweed"), [ADMIN, WRITER, READER]) as server:
        server.make_bucket(BUCKET, ADMIN)
        yield server


@pytest.fixture
def environ(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The environment of someone who may do all; a cluster of other tests, which knows no key, computes nothing."""
    [monkeypatch.delenv(name, raising=False) for name in list(os.environ) if name.startswith("AWS_")]
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    use_keys(monkeypatch, ADMIN)
    with dask.config.set(scheduler="threads"):
        yield monkeypatch


def use_keys(environ: pytest.MonkeyPatch, keys: Keys) -> None:
    [environ.setenv(name, value) for name, value in keys.environ.items()]


@pytest.fixture
def url(environ: pytest.MonkeyPatch, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A cube's place that nobody else uses."""
    return f"s3://{BUCKET}/{tmp_path.name}/cube.zarr"


@pytest.fixture(scope="session")
def plan() -> GroupPlan:
    """Eight tiles."""
    return small_plan()


@pytest.fixture(scope="session")
def pixels(plan: GroupPlan) -> Pixels:
    return Pixels.random(plan)


@dataclass(slots=True, kw_only=True)
class Faults:
    """What the door in front of the server does to requests: for each method, how many more to refuse, and how."""

    status: int = 503
    code: str = "SlowDown"
    refuse: dict[str, int] = field(default_factory=dict)
    lose_answers: int = 0
    """How many more PUTs to let through and answer with 500 all the same."""
    seen: list[str] = field(default_factory=list)


@pytest.fixture
def faults(server: Server, environ: pytest.MonkeyPatch) -> Iterator[Faults]:
    """A door in front of the server, through which everything goes as it came, unless it is told otherwise."""
    rules = Faults()
    lock = threading.Lock()

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with lock:
                rules.seen.append(f"{self.command} {self.path}")
                refused = rules.refuse.get(self.command, 0) > 0
                rules.refuse[self.command] = max(0, rules.refuse.get(self.command, 0) - 1)
            if refused:
                return self.answer(rules.status, f"<Error><Code>{rules.code}</Code></Error>".encode(), {})
            inner = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
            inner.request(self.command, self.path, body, dict(self.headers))
            found = inner.getresponse()
            data = found.read()
            kept = {name: value for name, value in found.getheaders() if name.lower() != "transfer-encoding"}
            inner.close()
            with lock:
                lost = self.command == "PUT" and rules.lose_answers > 0
                rules.lose_answers -= lost
            if lost:
                return self.answer(500, b"<Error><Code>InternalError</Code></Error>", {})
            return self.answer(found.status, data, kept)

        def answer(self, status: int, data: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() != "content-length":
                    self.send_header(name, value)
            length = headers.get("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", length or str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = forward  # noqa: N815  # http.server's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's name
            pass

    door = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    door.daemon_threads = True
    thread = threading.Thread(target=door.serve_forever, daemon=True)
    thread.start()
    environ.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{door.server_port}")
    yield rules
    door.shutdown()
    door.server_close()
    thread.join()
