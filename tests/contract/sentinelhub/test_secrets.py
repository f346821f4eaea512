"""A secret on the wire: the service gets the true key, and nobody else."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from shdask.sentinelhub import (
    CRS,
    AsyncProcessRequest,
    BBox,
    DataCollection,
    DownloadFailedException,
    MimeType,
)

from .conftest import config_of

SECRET = "a-very-secret-key"


def job(url: str, **more: Any) -> AsyncProcessRequest:
    """A job that delivers, and finds its evalscript, with a pair of keys."""
    keys = AsyncProcessRequest.s3_specification("s3://bucket/prefix", "AK", SECRET)
    collection = DataCollection.SENTINEL2_L2A
    entry = AsyncProcessRequest.input_data(collection)
    entry.service_url = url
    return AsyncProcessRequest(
        evalscript_reference=keys,
        input_data=[entry],
        responses=[AsyncProcessRequest.output_response("default", MimeType.TIFF)],
        delivery=keys,
        bbox=BBox((14, 45, 15, 46), CRS.WGS84),
        config=config_of(url),
        **more,
    )


def test_the_service_gets_the_true_key(script: Any, reply: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Both places in the body hold it; log, record and request do not."""
    server = script(reply(body=b'{"id": "7", "status": "RUNNING"}'))
    asked = job(server.url, data_folder=str(tmp_path))
    with caplog.at_level(logging.DEBUG):
        assert asked.get_data(save_data=True) == [{"id": "7", "status": "RUNNING"}]
    sent = json.loads(server.seen[1].body)
    assert sent["output"]["delivery"]["s3"]["secretAccessKey"] == SECRET
    assert sent["evalscriptReference"]["s3"]["secretAccessKey"] == SECRET
    kept = "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    assert "secretAccessKey" in kept
    assert SECRET not in f"{caplog.text} {kept} {asked.download_list}"


def test_a_refusal_shows_no_key(script: Any, reply: Any, caplog: pytest.LogCaptureFixture):
    """Nor does what is raised when the service refuses."""
    server = script(reply(status=400, body=f"no right to write with {SECRET}".encode()))
    with caplog.at_level(logging.DEBUG), pytest.raises(DownloadFailedException) as caught:
        job(server.url).get_data()
    assert SECRET in server.seen[1].body.decode()
    assert SECRET not in f"{caught.value} {caught.value.request_exception!r} {caplog.text}"
