"""A real S3 on loopback for benchmarks: SeaweedFS, for the length of a block.

Refuses to know what is kept in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock
from urllib.request import urlopen

from shdask.assemble.place import open_place

BUCKET = "bench-cubes"
KEYS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench-secret", "AWS_REGION": "us-east-1"}


@contextlib.contextmanager
def start_seaweed(folder: Path) -> Iterator[None]:
    """SeaweedFS with the bucket ``bench-cubes``, its files below ``folder``; the environment leads to it meanwhile."""
    identities = [{"name": "bench", "credentials": [{"accessKey": "bench", "secretKey": "bench-secret"}],
                   "actions": ["Admin", "Read", "Write", "List"]}]  # fmt: skip
    (folder / "identities.json").write_text(json.dumps({"identities": identities}))
    (folder / "weed").mkdir()
    s3, master, volume, filer = _free_ports(4)
    options = [f"-s3.port={s3}", f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", "-s3"]
    options += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder / 'weed'}", "-volume.max=20"]
    options += [f"-s3.config={folder / 'identities.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    command = [Path(sys.executable).with_name("weed"), "server", *options]
    with (folder / "weed.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            _wait(f"http://127.0.0.1:{s3}/healthz")
            with mock.patch.dict(os.environ, {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3}"}):
                open_place(f"s3://{BUCKET}/first").write("first", b"")  # makes the bucket
                yield
        finally:
            process.kill()


def _wait(url: str) -> None:
    for _ in range(1800):
        with contextlib.suppress(OSError), urlopen(url, timeout=1):  # noqa: S310  # our own server
            return
        time.sleep(0.1)
    raise RuntimeError(f"{url} does not answer")


def _free_ports(count: int) -> list[int]:
    """Also free 10000 above, where the server listens for gRPC."""
    candidates = random.sample(range(12_000, 22_000), 200)
    return [port for port in candidates if _is_free(port) and _is_free(port + 10_000)][:count]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
