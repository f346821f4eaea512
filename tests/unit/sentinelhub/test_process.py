"""Requests as they were recorded on the wire, and what a request says of itself."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest

import shdask
import shdask.sentinelhub
from shdask.sentinelhub import (
    CRS,
    AsyncProcessRequest,
    BBox,
    DataCollection,
    Geometry,
    MimeType,
    MosaickingOrder,
    SentinelHubRequest,
    SHConfig,
)
from shdask.sentinelhub.inputs import InputDataDict

CONFIG = SHConfig(use_defaults=True)
UTM_BOX = BBox((500000, 5100000, 500050, 5100040), CRS("32633"))
TRIANGLE = Geometry("POLYGON ((14 46, 14.1 46, 14.1 46.1, 14 46))", CRS.WGS84)
TIFF = SentinelHubRequest.output_response("default", MimeType.TIFF)
USERDATA = SentinelHubRequest.output_response("userdata", MimeType.JSON)

# Recorded from sentinelhub-py's own requests against a loopback server
PROCESS_BODY = (
    '{"input": {"bounds": {"properties": {"crs": "http://www.opengis.net/def/crs/EPSG/0/32633"}, '
    '"bbox": [500000.0, 5100000.0, 500050.0, 5100040.0]}, "data": [{"type": "sentinel-2-l2a", "id": "s2", '
    '"dataFilter": {"timeRange": {"from": "2024-06-01T00:00:00Z", "to": "2024-06-10T23:59:59Z"}, '
    '"maxCloudCoverage": 30, "mosaickingOrder": "leastCC"}, '
    '"processing": {"upsampling": "BICUBIC", "downsampling": "NEAREST"}}]}, '
    '"evalscript": "EV", "output": {"responses": [{"identifier": "default", "format": {"type": "image/tiff"}}], '
    '"resx": 10, "resy": 10}}'
)
ASYNC_BODY = (
    '{"input": {"bounds": {"properties": {"crs": "http://www.opengis.net/def/crs/EPSG/0/4326"}, "geometry": '
    '{"type": "Polygon", "coordinates": [[[14.0, 46.0], [14.1, 46.0], [14.1, 46.1], [14.0, 46.0]]]}}, "data": '
    '[{"type": "sentinel-2-l2a", "dataFilter": {"timeRange": {"from": "2024-06-01T00:00:00Z", '
    '"to": "2024-06-10T12:00:00Z"}}}]}, "evalscript": "EV", "output": {"responses": [{"identifier": "default", '
    '"format": {"type": "image/tiff"}}, {"identifier": "userdata", "format": {"type": "application/json"}}], '
    '"delivery": {"s3": {"url": "s3://bkt/pfx", "accessKey": "AK", "secretAccessKey": "SK", '
    '"region": "eu-central-1"}}, "width": 6000, "height": 4000}}'
)


@pytest.fixture
def process() -> SentinelHubRequest:
    """The recorded Process request."""
    data = SentinelHubRequest.input_data(
        DataCollection.SENTINEL2_L2A,
        identifier="s2",
        time_interval=("2024-06-01", "2024-06-10"),
        maxcc=0.3,
        mosaicking_order=MosaickingOrder.LEAST_CC,
        upsampling="BICUBIC",
        downsampling="NEAREST",
    )
    return SentinelHubRequest("EV", [data], [TIFF], UTM_BOX, resolution=(10, 10), config=CONFIG)


@pytest.fixture
def job() -> AsyncProcessRequest:
    """The recorded Async Process request."""
    interval = ("2024-06-01", "2024-06-10T12:00:00")
    return AsyncProcessRequest(
        evalscript="EV",
        input_data=[AsyncProcessRequest.input_data(DataCollection.SENTINEL2_L2A, time_interval=interval)],
        responses=[TIFF, USERDATA],
        delivery=AsyncProcessRequest.s3_specification("s3://bkt/pfx", "AK", "SK", region="eu-central-1"),
        geometry=TRIANGLE,
        size=(6000, 4000),
        config=CONFIG,
    )


def test_a_process_request_is_the_recorded_one(process: SentinelHubRequest) -> None:
    """URL, headers and body are those on the wire."""
    (sent,) = process.download_list
    assert sent.url == "https://services.sentinel-hub.com/api/v1/process"
    assert sent.headers == {"content-type": "application/json", "accept": "image/tiff"}
    assert json.dumps(sent.post_values) == PROCESS_BODY


def test_a_job_is_the_recorded_one(job: AsyncProcessRequest) -> None:
    """The same of an Async Process request."""
    (sent,) = job.download_list
    assert sent.url == "https://services.sentinel-hub.com/api/v1/async/process"
    assert sent.headers == {"content-type": "application/json", "accept": "application/json"}
    assert json.dumps(sent.post_values) == ASYNC_BODY


def test_several_outputs_come_as_an_archive(process: SentinelHubRequest) -> None:
    """One output is asked for as itself, several as a tar."""
    several = SentinelHubRequest("EV", [], [TIFF, USERDATA], UTM_BOX, config=CONFIG)
    assert (process.mime_type, several.mime_type) == (MimeType.TIFF, MimeType.TAR)
    assert several.download_list[0].headers["accept"] == "application/x-tar"


def test_a_reference_to_an_evalscript_takes_its_place() -> None:
    """An evalscript in S3 is named by place and role."""
    place = AsyncProcessRequest.s3_specification("s3://b/e.js", iam_role_arn="arn:aws:iam::1:role/r")
    request = AsyncProcessRequest(
        evalscript_reference=place, input_data=[], responses=[TIFF], delivery=place, bbox=UTM_BOX, config=CONFIG
    )
    assert "evalscript" not in request.payload
    assert request.payload["evalscriptReference"] == {
        "s3": {"url": "s3://b/e.js", "iamRoleARN": "arn:aws:iam::1:role/r"}
    }


@pytest.mark.parametrize(
    ("urls", "configured", "chosen"),
    [
        ([], "https://a.example/", "https://a.example"),
        ([None], "https://a.example", "https://a.example"),
        (["https://b.example/"], "https://a.example", "https://b.example"),
        (["https://b.example", None, "https://b.example/"], "https://a.example", "https://b.example"),
        (["https://b.example", "https://a.example"], "https://a.example/", "https://a.example"),
    ],
)
def test_collections_choose_the_deployment(urls: list[str | None], configured: str, chosen: str) -> None:
    """A collection's own URL wins; of several, the configured one."""
    data = [InputDataDict({"type": "t"}, service_url=url) for url in urls]
    config = SHConfig(use_defaults=True, sh_base_url=configured)
    request = SentinelHubRequest("EV", data, [TIFF], UTM_BOX, config=config)
    assert request.get_url_list() == [f"{chosen}/api/v1/process"]


def test_collections_of_other_deployments_cannot_be_mixed() -> None:
    """Two deployments, neither of them configured, are refused by name."""
    data = [
        SentinelHubRequest.input_data(DataCollection.SENTINEL2_L2A),
        SentinelHubRequest.input_data(DataCollection.MODIS),
    ]
    config = SHConfig(use_defaults=True, sh_base_url="https://a.example")
    with pytest.raises(ValueError, match=r"services-uswest2.*services.*a\.example"):
        SentinelHubRequest("EV", data, [TIFF], UTM_BOX, config=config)


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("SentinelHubRequest", ["bounds", "body", "input_data", "output", "output_response"]),
        ("AsyncProcessRequest", ["bounds", "body", "input_data", "output", "output_response", "s3_specification"]),
    ],
)
def test_signatures_are_those_of_sentinelhub_py(name: str, own: list[str], theirs: Any) -> None:
    """Names, order and defaults of every static method's arguments are equal."""
    ours, other = getattr(shdask.sentinelhub, name), getattr(theirs, name)
    assert [_signature(getattr(ours, method)) for method in own] == [
        _signature(getattr(other, method)) for method in own
    ]


@pytest.mark.parametrize("name", ["SentinelHubRequest", "AsyncProcessRequest"])
def test_constructors_take_what_sentinelhub_py_takes(name: str, theirs: Any) -> None:
    """The constructor's own arguments are equal, and those of its base follow by keyword."""
    ours, other = (_signature(getattr(side, name)) for side in (shdask.sentinelhub, theirs))
    named = [argument for argument in other if argument[0] != "kwargs"]
    assert ours[: len(named)] == named
    assert ours[len(named) :] == [
        ("data_folder", inspect.Parameter.KEYWORD_ONLY, None),
        ("config", inspect.Parameter.KEYWORD_ONLY, None),
    ]


@pytest.mark.parametrize("name", shdask.sentinelhub.__all__)
def test_public_names_exist(name: str) -> None:
    """Every promised name can be had from the package."""
    assert getattr(shdask.sentinelhub, name).__name__ == name


def test_names_that_are_left_out_say_so() -> None:
    """A name of sentinelhub-py that is no part of this package points to the docs."""
    with pytest.raises(AttributeError, match="left out"):
        _ = shdask.sentinelhub.WmsRequest


def _signature(function: Any) -> list[tuple[str, Any, Any]]:
    parameters = inspect.signature(function).parameters.values()
    return [(one.name, one.kind, one.default) for one in parameters]
