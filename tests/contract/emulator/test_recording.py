"""The files of a recording: whole, readable, and without secrets."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import requests

from shdask.testing import emulator
from tests.contract.emulator.conftest import Client, make_body

S3 = {"url": "s3://bucket/prefix", "accessKey": "AKIAIOSFODNN7EXAMPLE", "secretAccessKey": "wJalrXUtnFEMI/K7MDENG"}


@pytest.fixture
def recorded(launched, tmp_path):
    """A client of an emulator that records into a folder which it has to make."""
    return launched(record=str(tmp_path / "new" / "calls"), client_secret="not-to-be-told")


@pytest.fixture
def folder(tmp_path) -> Path:
    """The folder of the recording."""
    return tmp_path / "new" / "calls"


def read(folder: Path, name: str) -> dict[str, Any]:
    """The one file of the folder with this in its name."""
    (path,) = folder.glob(f"*{name}*.json")
    return json.loads(path.read_text())


def test_each_call_is_one_file_named_in_its_order(recorded, folder):
    """Time, number, service and status make the name."""
    recorded.process(make_body())
    recorded.process({})
    names = [path.name.split("-", 1)[1] for path in sorted(folder.iterdir())]
    assert names == ["000001-token-200.json", "000002-process-200.json", "000003-process-400.json"]


def test_a_call_can_be_made_again_from_its_file(recorded, folder):
    """The lines of the evalscript put together, the body is the one that was sent."""
    sent = make_body()
    recorded.process(sent)
    told = read(folder, "000002")["request"]
    assert (told["method"], told["path"]) == ("POST", "/api/v1/process")
    assert {**told["body"], "evalscript": "\n".join(told["body"]["evalscript"])} == sent


def test_the_answer_is_told(recorded, folder):
    """Status, price, headers and time; an error with its body."""
    recorded.process(make_body())
    recorded.process({})
    good, bad = read(folder, "000002")["answer"], read(folder, "000003")["answer"]
    assert (good["status"], good["pu"], good["headers"]["content-type"]) == (200, pytest.approx(0.005), "image/tiff")
    assert "body" not in good
    assert good["ms"] > 0
    assert bad["body"]["error"]["code"] == "COMMON_BAD_PAYLOAD"


def test_no_secret_is_written(recorded, folder):
    """Neither token, nor client secret, nor a bucket's keys, nor what a cookie says."""
    body = make_body(**{"output.delivery": {"s3": S3}})
    recorded.process(body)
    headers = {"Authorization": f"Bearer {recorded.token}", "Cookie": "session=sweet"}
    url = recorded.emulator.base_url + "/process/v1"
    requests.post(url, data=json.dumps(body)[:-1].encode(), headers=headers, timeout=30)
    files = sorted(folder.iterdir())
    written = "".join(path.read_text() for path in files)
    secrets = [recorded.token, "not-to-be-told", S3["accessKey"], S3["secretAccessKey"], "sweet"]
    assert len(files) == 3
    assert [secret for secret in secrets if secret in written] == []
    assert read(folder, "000001")["request"]["body"] is None


def test_answers_are_written_where_asked_for(launched, folder):
    """Beside the call's file, byte for byte."""
    client = launched(record=str(folder), record_answers=True)
    answer = client.process(make_body())
    told = read(folder, "000002")["answer"]
    assert told["file"].endswith("-000002-process-200.tif")
    assert (folder / told["file"]).read_bytes() == answer.content


def test_a_call_without_an_answer_is_written(folder):
    """By the emulator's end it is there, with status 0 and the fault that took the answer."""
    with emulator(record=str(folder), faults="reset", renderers=1) as service, pytest.raises(requests.ConnectionError):
        Client(service).process(make_body())
    told = read(folder, "000002-process-0")
    assert (told["answer"]["status"], told["answer"]["fault"]) == (0, "reset")


def test_no_path_leads_out_of_the_folder(recorded, folder, tmp_path):
    """What a client asks for never becomes part of a file's name."""
    host, _, port = recorded.emulator.base_url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"GET /../../../token/../../x%2f..%2fy HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = connection.makefile("rb").read()
    assert b" 404 " in answer.splitlines()[0]
    assert len(list(folder.iterdir())) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_folder_that_goes_away_spoils_no_answer(recorded, folder):
    """Recording never influences what is answered."""
    shutil.rmtree(folder)
    assert recorded.process(make_body()).status_code == 200
