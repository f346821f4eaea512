"""The service's own Python client against the emulator's jobs."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
import rasterio

from tests.contract.emulator.async_process.conftest import BUCKET, ROLE, WRITER
from tests.contract.emulator.conftest import SCRIPT


@pytest.fixture
def theirs(reference, submitter, monkeypatch):
    """Their module, and a config of theirs for the emulator that delivers."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    emulator = submitter.emulator
    config = reference.client.SHConfig(
        use_defaults=True,
        sh_client_id=emulator.client_id,
        sh_client_secret=emulator.client_secret,
        sh_base_url=emulator.base_url,
        sh_token_url=emulator.token_url,
    )
    return SimpleNamespace(hub=reference.client, config=config)


@pytest.fixture
def request_of(theirs, prefix):
    """A request of theirs, for the pixels of an evalscript, in the body or in a bucket."""

    def request_of(delivery=None, **script):
        kind = theirs.hub.AsyncProcessRequest
        data = kind.input_data(theirs.hub.DataCollection.SENTINEL2_L2A, time_interval=("2024-06-01", "2024-06-30"))
        data.service_url = None
        keys = {"access_key": WRITER.key_id, "secret_access_key": WRITER.secret}
        return kind(
            input_data=[data],
            responses=[kind.output_response("default", theirs.hub.MimeType.TIFF)],
            delivery=kind.s3_specification(f"s3://{BUCKET}/{prefix}", **(delivery or keys)),
            bbox=theirs.hub.BBox((500000, 5099900, 500200, 5100000), theirs.hub.CRS("32633")),
            size=(20, 10),
            config=theirs.config,
            **(script or {"evalscript": SCRIPT}),
        )

    return request_of


def test_a_request_of_theirs_becomes_a_job(submitter, bucket, prefix, request_of):
    """They learn its id, and the file is there."""
    (told,) = request_of().get_data()
    assert (told["status"], submitter.wait(told["id"])["state"]) == ("RUNNING", "delivered")
    with rasterio.open(io.BytesIO(bucket.read(f"{prefix}/{told['id']}/default.tif"))) as tiff:
        assert (tiff.count, tiff.shape, str(tiff.crs)) == (2, (10, 20), "EPSG:32633")


def test_they_tell_running_jobs_from_others(submitter, theirs, request_of):
    """By their own function."""
    submitter.emulator.set_faults("slow=60@1")
    running, ended = request_of().get_data()[0]["id"], request_of().get_data()[0]["id"]
    submitter.wait(ended)
    ask = theirs.hub.get_async_running_status
    assert ask([running, ended, "never"], config=theirs.config) == {running: True, ended: False, "never": False}


def test_their_reference_to_a_script_is_read(submitter, bucket, prefix, theirs, request_of):
    """With a role for the bucket of the script as for the files."""
    role = {"iam_role_arn": ROLE}
    url = bucket.put(f"{prefix}-scripts/a.js", SCRIPT.encode())
    reference = theirs.hub.AsyncProcessRequest.s3_specification(url, **role)
    (told,) = request_of(role, evalscript_reference=reference).get_data()
    assert submitter.wait(told["id"])["state"] == "delivered"


def test_a_refusal_reaches_them(submitter, theirs, request_of):
    """As an error with the service's words."""
    with pytest.raises(theirs.hub.exceptions.DownloadFailedException, match="Failed to evaluate script"):
        request_of(evalscript="//VERSION=3\nnot JavaScript").get_data()
