"""A service that answers with prepared pictures after a set time, so that nothing but its clients is measured.

Each picture is the emulator's; only its place on Earth is written anew for each request.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests

from shdask.emulator.launch import EmulatorProcess

TOKEN_PATH = "/oauth/token"  # noqa: S105  # a path
TOKEN = json.dumps({"access_token": "any", "token_type": "Bearer", "expires_in": 3600}).encode()


def record_pictures(bodies: list[dict[str, Any]], service: EmulatorProcess, folder: Path) -> None:
    """Let the emulator answer each body once, and keep its TIFFs in ``folder``, named by where their place stands."""
    credentials = {"client_id": service.client_id, "client_secret": service.client_secret}
    answer = requests.post(service.token_url, data={"grant_type": "client_credentials", **credentials}, timeout=10)
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}", "Accept": "image/tiff"}
    for number, body in enumerate(bodies):
        answer = requests.post(service.base_url + "/api/v1/process", json=body, headers=headers, timeout=120)
        answer.raise_for_status()
        position = answer.content.index(tie_point(body))
        (folder / f"{number}-{position}.tif").write_bytes(answer.content)


def tie_point(body: Mapping[str, Any]) -> bytes:
    """A GeoTIFF's ModelTiepoint of a picture of ``body``: pixel (0, 0, 0) at its upper left corner. Pure."""
    left, _, _, top = body["input"]["bounds"]["bbox"]
    return struct.pack("<6d", 0, 0, 0, left, top, 0)


@dataclass(frozen=True, slots=True)
class Picture:
    """A TIFF, and where its tie point stands in it."""

    content: memoryview
    position: int

    def parts(self, point: bytes) -> tuple[memoryview, bytes, memoryview]:
        """The file with another tie point, uncopied."""
        return self.content[: self.position], point, self.content[self.position + len(point) :]


class Answers(BaseHTTPRequestHandler):
    """Any login is good; a Process request brings one of the pictures."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, pictures: list[Picture], latency_s: float, *request: Any) -> None:
        self.pictures = pictures
        self.latency_s = latency_s
        super().__init__(*request)

    def do_POST(self) -> None:
        """Answer once the latency is over."""
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == TOKEN_PATH:
            return self.answer("application/json", TOKEN)
        time.sleep(self.latency_s)
        point = tie_point(json.loads(asked))
        picture = self.pictures[sum(point) % len(self.pictures)]
        return self.answer("image/tiff", *picture.parts(point))

    def answer(self, kind: str, *parts: bytes | memoryview) -> None:
        """Send a whole answer."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(sum(map(len, parts))))
        self.end_headers()
        for part in parts:
            self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def start_canned_service(folder: Path, latency_s: float) -> Iterator[dict[str, str]]:
    """The service in a process of its own; yields the variables that point a client at it."""
    command = [sys.executable, "-m", "benchmarks.canned_service", str(folder), str(latency_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().strip()  # type: ignore[union-attr]  # it is a pipe
            yield {"SH_BASE_URL": url, "SH_TOKEN_URL": url + TOKEN_PATH, "SH_CLIENT_ID": "a", "SH_CLIENT_SECRET": "b"}
        finally:
            process.terminate()


def serve(folder: Path, latency_s: float) -> None:
    """Serve the pictures in ``folder`` on a free port of 127.0.0.1, which is printed, until the parent is gone."""
    pictures = [
        Picture(memoryview(file.read_bytes()), int(file.stem.partition("-")[2]))
        for file in sorted(folder.glob("*.tif"))
    ]
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Answers, pictures, latency_s))
    server.daemon_threads = True
    server.timeout = 1.0
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    parent = os.getppid()
    while os.getppid() == parent:
        server.handle_request()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), float(sys.argv[2]))
