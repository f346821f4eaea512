"""The keys of a bucket: used, and shown nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests

from shdask.emulator.launch import start_emulator
from tests.contract.emulator.async_process.conftest import BUCKET, WRITER, Submitter, make_order
from tests.seaweed import Keys

OWN = ("stats", "requests", "jobs", "inspection.json", "exchanges/2.json", "openapi.json", "")


@pytest.fixture(scope="module")
def recorded(bucket, tmp_path_factory):
    """A client of an emulator that writes down every call, after one job of each end."""
    folder = tmp_path_factory.mktemp("recorded") / "calls"
    options = {"s3_endpoint": bucket.server.endpoint, "renderers": 1, "record": str(folder), "record_answers": True}
    with start_emulator(**options) as emulator:
        submitter = Submitter(emulator)
        run_all(submitter, folder.parent.name)
        yield submitter, folder


def run_all(submitter: Submitter, prefix: str) -> None:
    """A job that delivers, two that fail in different ways, and one that is refused."""
    reference = {"s3": {"url": f"s3://{BUCKET}/none.js", "accessKey": WRITER.key_id, "secretAccessKey": WRITER.secret}}
    submitter.run(make_order(prefix))
    submitter.run(make_order(prefix, Keys(key_id=WRITER.key_id, secret="writer-secret-wrong")))
    submitter.run(make_order(prefix, evalscript=None, evalscriptReference=reference))
    submitter.submit(make_order(prefix, **{"output.width": 0}))


def test_no_route_of_the_emulators_own_shows_a_key(recorded):
    """Neither the page nor what stands behind it."""
    submitter, _ = recorded
    shown = [requests.get(f"{submitter.emulator.base_url}/emulator/{path}", timeout=30) for path in OWN]
    assert {answer.status_code for answer in shown} == {200}
    text = "".join(answer.text for answer in shown)
    assert (WRITER.secret in text, WRITER.key_id in text, "delivered" in text) == (False, False, True)


def test_no_recording_holds_a_key(recorded):
    """A call is written with its bucket, and without what opens it."""
    _, folder = recorded
    files = sorted(folder.glob("*-async-*.json"))
    text = "".join(Path(file).read_text() for file in files)
    assert (len(files), WRITER.secret in text, WRITER.key_id in text) == (4, False, False)
    assert json.loads(files[0].read_text())["request"]["body"]["output"]["delivery"]["s3"] == {
        "url": f"s3://{BUCKET}/{folder.parent.name}",
        "accessKey": "***",
        "secretAccessKey": "***",
    }


def test_nothing_in_the_bucket_holds_a_key(recorded, bucket):
    """Neither the copy of a request nor an error."""
    _, folder = recorded
    names = bucket.names(folder.parent.name)
    text = b"".join(bucket.read(f"{folder.parent.name}/{name}") for name in names).decode("latin-1")
    assert (len(names) > 3, WRITER.secret in text, WRITER.key_id in text) == (True, False, False)


def test_nothing_is_said_aloud(launch, prefix, capfd):
    """The emulator's own output is silent about jobs that fail."""
    run_all(launch(), prefix)
    told = capfd.readouterr()
    assert (told.out, told.err) == ("", "")
