"""A real S3 on this machine, one for all tests, and a way to make it fail."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

import dask
import obstore
import pytest
from obstore.store import S3Store

from shdask.plan.cube import CubePlan
from tests.unit.assemble.conftest import Pixels, small_plan

WEED = Path(sys.executable).with_name("weed")
STARTED_WITHIN_S = 120.0
TRIES = 3
"""Somebody else may take a port between its choice and its use."""
BUCKET = "cubes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """An identity of the server."""

    name: str
    actions: tuple[str, ...]

    @property
    def environ(self) -> dict[str, str]:
        """What its holder has in the environment."""
        return {"AWS_ACCESS_KEY_ID": f"{self.name}-key", "AWS_SECRET_ACCESS_KEY": f"{self.name}-secret"}

    def as_json(self) -> dict[str, object]:
        """As the server's configuration has it."""
        credentials = {"accessKey": f"{self.name}-key", "secretKey": f"{self.name}-secret"}
        return {"name": self.name, "credentials": [credentials], "actions": list(self.actions)}


ADMIN = Keys(name="admin", actions=("Admin", "Read", "Write", "List"))
WRITER = Keys(name="writer", actions=("Read", "Write", "List"))
READER = Keys(name="reader", actions=("Read", "List"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running S3."""

    port: int

    @property
    def endpoint(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"


def is_free(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False


def free_ports(count: int) -> list[int]:
    """Ports that are free, and free again 10000 above, where the server listens for gRPC.

    All lie below those that the kernel gives to outgoing connections, which come and go meanwhile.
    """
    candidates = random.sample(range(12_000, 22_000), 200)
    return [port for port in candidates if is_free(port) and is_free(port + 10_000)][:count]


def answers(endpoint: str, process: subprocess.Popen[bytes]) -> bool:
    """Whether the server has begun to answer; False once it has ended or the time is up."""
    deadline = time.monotonic() + STARTED_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), urlopen(f"{endpoint}/healthz", timeout=1):  # noqa: S310  # our own server
            return True
        time.sleep(0.1)
    return False


@contextlib.contextmanager
def run_server(folder: Path) -> Iterator[Server | None]:
    """SeaweedFS with its files below ``folder``; None where it did not come up."""
    (folder / "data").mkdir(parents=True)
    identities = folder / "identities.json"
    identities.write_text(json.dumps({"identities": [keys.as_json() for keys in (ADMIN, WRITER, READER)]}))
    s3, master, volume, filer = free_ports(4)
    ports = [f"-s3.port={s3}", f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"]
    others = ["-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.max=20", f"-s3.config={identities}"]
    here = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder / 'data'}", "-s3"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([WEED, "server", *here, *ports, *others], stdout=log, stderr=log)
        try:
            yield Server(port=s3) if answers(f"http://127.0.0.1:{s3}", process) else None
        finally:
            process.kill()  # a goodbye takes it 25 s
            process.wait(30)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """SeaweedFS, started once and ended by its own process id."""
    for _ in range(TRIES):
        folder = tmp_path_factory.mktemp("seaweed")
        with run_server(folder) as server:
            if server is not None:
                make_bucket(server)
                yield server
                return
    pytest.fail(f"SeaweedFS did not come up; its last words are in {folder / 'log'}")


def make_bucket(server: Server) -> None:
    """The server makes a bucket for the first object that an admin puts there."""
    keys = {"access_key_id": "admin-key", "secret_access_key": "admin-secret", "region": "us-east-1"}
    store = S3Store(BUCKET, endpoint=server.endpoint, client_options={"allow_http": True}, **keys)
    obstore.put(store, "first", b"")


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
def plan() -> CubePlan:
    """Eight tiles."""
    return small_plan()


@pytest.fixture(scope="session")
def pixels(plan: CubePlan) -> Pixels:
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
