"""The ways a request body may travel: plain, gzipped, as a form."""

from __future__ import annotations

import gzip
import json

import pytest

from .conftest import make_body


def post(client, **options):
    """The answer to a POST with these options of requests."""
    headers = {"Authorization": f"Bearer {client.token}", **options.pop("headers", {})}
    return client.session.post(client.emulator.base_url + "/api/v1/process", headers=headers, timeout=30, **options)


def zipped(content):
    """Options of a gzipped JSON body."""
    return {"data": content, "headers": {"Content-Type": "application/json", "Content-Encoding": "gzip"}}


def test_gzipped_body_is_understood(client):
    """A gzipped request gets the same image."""
    body = make_body()
    answer = post(client, **zipped(gzip.compress(json.dumps(body).encode())))
    assert answer.content == client.process(body).content


def test_form_is_understood(client):
    """The parts request and evalscript of a form make one request."""
    body = make_body()
    source = body.pop("evalscript").replace("//VERSION=3", "//VERSION=3\n// größer")
    parts = {"request": (None, json.dumps(body), "application/json"), "evalscript": (None, source.encode())}
    assert post(client, files=parts).content == client.process(make_body()).content


@pytest.mark.parametrize("content", [b"plain", gzip.compress(b"{}" * 99)[:-12]], ids=["not packed", "cut short"])
def test_broken_gzip_is_refused(client, content):
    """A body that cannot be unpacked is a 400."""
    assert post(client, **zipped(content)).json()["error"]["code"] == "COMMON_BAD_PAYLOAD"


def test_bomb_is_refused(client):
    """A small body does not unpack to more than 64 MiB."""
    assert post(client, **zipped(gzip.compress(bytes(65 * 2**20), 1))).status_code == 413


def test_form_without_script_is_refused(client):
    """A form lacks nothing, or is a 400."""
    answer = post(client, files={"request": (None, "{}", "application/json")})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "COMMON_BAD_PAYLOAD")


def test_other_encodings_are_refused(client):
    """An encoding that is not understood is a 415."""
    options = {"data": b"{}", "headers": {"Content-Type": "application/json", "Content-Encoding": "br"}}
    assert post(client, **options).status_code == 415
