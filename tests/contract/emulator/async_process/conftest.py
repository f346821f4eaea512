"""A real S3 for jobs to deliver to, and a client that sends them there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import obstore
import pytest
import requests
from obstore.store import S3Store

from shdask.emulator.launch import start_emulator
from tests.contract.emulator.conftest import Client, change, make_body
from tests.seaweed import Keys, Server, start_seaweed

BUCKET = "deliveries"
ADMIN = Keys(key_id="admin-key", secret="admin-secret")
WRITER = Keys(key_id="writer-key", secret="writer-secret", actions=("Read", "Write", "List"))
READER = Keys(key_id="reader-key", secret="reader-secret", actions=("Read", "List"))
ROLE = "arn:aws:iam::123456789012:role/deliver"
PATH = "/api/v1/async/process"
WITHIN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """What lies in the bucket that jobs deliver to."""

    server: Server

    @property
    def store(self) -> S3Store:
        """As its admin has it."""
        keys = {"access_key_id": ADMIN.key_id, "secret_access_key": ADMIN.secret, "region": "us-east-1"}
        return S3Store(BUCKET, endpoint=self.server.endpoint, client_options={"allow_http": True}, **keys)

    def names(self, prefix: str) -> list[str]:
        """The keys below a prefix, without it."""
        found = obstore.list(self.store, prefix).collect()
        return sorted(entry["path"].removeprefix(f"{prefix}/") for entry in found)

    def read(self, key: str) -> bytes:
        """An object."""
        return bytes(obstore.get(self.store, key).bytes())

    def json(self, key: str) -> Any:
        """An object of JSON."""
        return json.loads(self.read(key))

    def put(self, key: str, content: bytes) -> str:
        """A new object; its URL."""
        obstore.put(self.store, key, content)
        return f"s3://{BUCKET}/{key}"


class Submitter(Client):
    """A client that sends jobs and waits for them."""

    def submit(self, body: Any, **headers: str) -> requests.Response:
        """The answer to a job."""
        headers = {"Authorization": f"Bearer {self.token}", **headers}
        return self.session.post(self.emulator.base_url + PATH, json=body, headers=headers, timeout=60)

    def status(self, job_id: str, path: str = PATH, token: str | None = None) -> requests.Response:
        """The answer to the question whether a job runs."""
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return self.session.get(f"{self.emulator.base_url}{path}/{job_id}", headers=headers, timeout=60)

    def started(self, body: Any) -> str:
        """The id of a job that was accepted."""
        answer = self.submit(body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        """What the emulator knows of a job."""
        return next(job for job in self.emulator.jobs() if job["id"] == job_id)

    def wait(self, job_id: str, what: Callable[[dict[str, Any]], bool] = lambda job: job["ended"] is not None) -> Any:
        """The job once this holds of it; by default, once it has come to an end."""
        deadline = time.monotonic() + WITHIN_S
        while not what(job := self.job(job_id)):
            assert time.monotonic() < deadline, job
            time.sleep(0.02)
        return job

    def run(self, body: Any) -> dict[str, Any]:
        """A job from its beginning to its end."""
        return dict(self.wait(self.started(body)))


def make_order(prefix: str, keys: Keys = WRITER, **changes: Any) -> dict[str, Any]:
    """An Async Process body for the pattern, delivered below ``prefix``; changes as of make_body()."""
    s3 = {"url": f"s3://{BUCKET}/{prefix}", "accessKey": keys.key_id, "secretAccessKey": keys.secret}
    return change(make_body(**{"output.delivery": {"s3": s3}}), **changes)


@pytest.fixture(scope="session")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """A bucket of SeaweedFS."""
    with start_seaweed(tmp_path_factory.mktemp("seaweed"), [ADMIN, WRITER, READER]) as server:
        server.make_bucket(BUCKET, ADMIN)
        yield Bucket(server=server)


@pytest.fixture(scope="session")
def one_submitter(bucket: Bucket) -> Iterator[Submitter]:
    """A client of an emulator without limits that delivers to the bucket."""
    roles = {ROLE: (WRITER.key_id, WRITER.secret)}
    with start_emulator(
        s3_endpoint=bucket.server.endpoint, s3_roles=roles, renderers=1, script_timeout_s=5.0, elsewhere=["dem"]
    ) as emulator:
        yield Submitter(emulator)


@pytest.fixture
def submitter(one_submitter: Submitter) -> Submitter:
    """The same with zero counts and no faults."""
    one_submitter.emulator.clear_faults()
    one_submitter.emulator.reset()
    return one_submitter


@pytest.fixture
def prefix(tmp_path: Any) -> str:
    """A folder of the bucket for one test alone."""
    return str(tmp_path.name)


@pytest.fixture
def launch(bucket: Bucket) -> Iterator[Callable[..., Submitter]]:
    """Starts an emulator with options of its own, and ends it after the test."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda **options: Submitter(
            stack.enter_context(start_emulator(renderers=1, s3_endpoint=bucket.server.endpoint, **options))
        )
