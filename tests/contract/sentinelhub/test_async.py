"""Jobs by sentinelhub-py and by us, to one emulator that delivers to a real S3."""

from __future__ import annotations

import io
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import rasterio

from shdask.emulator.launch import EmulatorProcess
from shdask.sentinelhub import AsyncProcessRequest, SHConfig, get_async_running_status
from tests.contract.emulator.async_process.conftest import (  # noqa: F401  # fixtures among them
    BUCKET,
    ROLE,
    WRITER,
    Bucket,
    Submitter,
    bucket,
    one_submitter,
    prefix,
    submitter,
)

SCRIPT = """//VERSION=3
function setup() { return {input: [{bands: ["B02", "B03"], units: "DN"}], output: {bands: 2, sampleType: "UINT16"}}; }
function evaluatePixel(s) { return [s.B02, s.B03]; }
"""
BOX = (500000, 5100000, 500400, 5100300)


@pytest.fixture(autouse=True)
def insecure(monkeypatch: pytest.MonkeyPatch) -> None:
    """sentinelhub-py's login library knows no loopback."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


def settings_of(emulator: EmulatorProcess) -> dict[str, Any]:
    """The emulator as the fields of a config."""
    return {
        "sh_base_url": emulator.base_url,
        "sh_token_url": emulator.token_url,
        "sh_client_id": emulator.client_id,
        "sh_client_secret": emulator.client_secret,
    }


def ask(theirs: ModuleType, kind: Any, config: Any, url: str, **changes: Any) -> Any:
    """A request of either kind for 40 x 30 pixels, made of sentinelhub-py's objects."""
    collection = theirs.data_collections.DataCollection.SENTINEL2_L2A
    entry = kind.input_data(collection, time_interval=("2024-06-01", "2024-06-30"), mosaicking_order="leastCC")
    entry.service_url = None
    keys = {"access_key": WRITER.key_id, "secret_access_key": WRITER.secret}
    given = {
        "evalscript": SCRIPT,
        "responses": [kind.output_response("default", theirs.constants.MimeType.TIFF)],
        "delivery": kind.s3_specification(url, **keys),
    }
    return kind(
        input_data=[entry],
        bbox=theirs.geometry.BBox(BOX, theirs.constants.CRS("32633")),
        resolution=(10, 10),
        config=config,
        **{**given, **changes},
    )


@pytest.fixture
def ours(theirs: ModuleType, submitter: Submitter, prefix: str) -> Any:  # noqa: F811
    """A request of ours, and the config it goes by."""
    config = SHConfig(use_defaults=True, **settings_of(submitter.emulator))

    def ours(**changes: Any) -> tuple[Any, SHConfig]:
        return ask(theirs, AsyncProcessRequest, config, f"s3://{BUCKET}/{prefix}", **changes), config

    return ours


def read(bucket: Bucket, key: str) -> Any:  # noqa: F811
    """The pixels of a delivered TIFF."""
    with rasterio.open(io.BytesIO(bucket.read(key))) as tiff:
        return tiff.read()


def test_a_request_of_ours_becomes_a_job(submitter: Submitter, bucket: Bucket, prefix: str, ours: Any):  # noqa: F811
    """Its id comes back, and its file is delivered."""
    request, _ = ours()
    (told,) = request.get_data()
    assert (told["status"], submitter.wait(told["id"])["state"]) == ("RUNNING", "delivered")
    assert read(bucket, f"{prefix}/{told['id']}/default.tif").any()


def test_both_get_the_same_pixels(
    submitter: Submitter,  # noqa: F811
    bucket: Bucket,  # noqa: F811
    prefix: str,  # noqa: F811
    ours: Any,
    theirs: ModuleType,
):
    """The same arguments are the same job."""
    config = theirs.config.SHConfig(use_defaults=True, **settings_of(submitter.emulator))
    request, _ = ours()
    other = ask(theirs, theirs.api.process.AsyncProcessRequest, config, f"s3://{BUCKET}/{prefix}")
    jobs = [submitter.wait(each.get_data()[0]["id"]) for each in (request, other)]
    first, second = (read(bucket, job["keys"][0]) for job in jobs)
    np.testing.assert_array_equal(first, second)


def test_ours_tells_running_jobs_from_others(submitter: Submitter, ours: Any):  # noqa: F811
    """One that runs, one that ended, and one that never was."""
    submitter.emulator.set_faults("slow=60@1")
    (running,), (ended,) = ours()[0].get_data(), ours()[0].get_data()
    submitter.wait(ended["id"])
    _, config = ours()
    found = get_async_running_status([running["id"], ended["id"], "never"], config)
    assert found == {running["id"]: True, ended["id"]: False, "never": False}


def test_a_script_in_a_bucket_by_a_role(submitter: Submitter, bucket: Bucket, prefix: str, ours: Any):  # noqa: F811
    """Our specification of both is understood."""
    place = AsyncProcessRequest.s3_specification(f"s3://{BUCKET}/{prefix}", iam_role_arn=ROLE)
    url = bucket.put(f"{prefix}-scripts/a.js", SCRIPT.encode())
    script = AsyncProcessRequest.s3_specification(url, iam_role_arn=ROLE)
    request, _ = ours(evalscript=None, evalscript_reference=script, delivery=place)
    (told,) = request.get_data()
    assert submitter.wait(told["id"])["state"] == "delivered"
