"""Requests and responses of a download list: names of folders, secrets hidden, formats found."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from shdask.sentinelhub.constants import MimeType, RequestType
from shdask.sentinelhub.models import DownloadRequest, DownloadResponse
from shdask.sentinelhub.naming import redacted, secrets_of

SECRET = "a-very-secret-key"
URL = "https://service.example/api/v1/async/process"
PAYLOAD: dict[str, Any] = {
    "input": {
        "bounds": {
            "properties": {"crs": "http://www.opengis.net/def/crs/EPSG/0/32633"},
            "bbox": [500000.0, 5100000.0, 500050.0, 5100040.0],
            "geometry": {"type": "Polygon", "coordinates": [[[14.0, 46.0], [14.1, 46.0], [14.1, 46.1], [14.0, 46.0]]]},
        },
        "data": [
            {
                "type": "sentinel-1-grd",
                "id": "s1",
                "dataFilter": {
                    "timeRange": {"from": "2024-06-01T00:00:00Z", "to": "2024-06-10T23:59:59Z"},
                    "mosaickingOrder": "mostRecent",
                    "acquisitionMode": "IW",
                    "polarization": "DV",
                    "resolution": "HIGH",
                    "orbitDirection": "ASCENDING",
                    "zzz": 1,
                },
                "processing": {"upsampling": "BICUBIC", "downsampling": "NEAREST", "orthorectify": True},
            }
        ],
    },
    "evalscript": "//VERSION=3",
    "output": {
        "responses": [{"identifier": "default", "format": {"type": "image/tiff"}}],
        "delivery": {
            "s3": {"url": "s3://bucket", "accessKey": "AK", "secretAccessKey": SECRET, "region": "eu-central-1"}
        },
        "width": 6000,
        "height": 4000,
    },
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def reversed_keys(value: Any) -> Any:
    """The same JSON with the keys of every object the other way round."""
    if isinstance(value, dict):
        return {key: reversed_keys(value[key]) for key in reversed(value)}
    return [reversed_keys(inner) for inner in value] if isinstance(value, list) else value


def request(**fields: Any) -> DownloadRequest:
    """A request of the kind that download lists hold."""
    given = {"url": URL, "post_values": PAYLOAD, "data_type": MimeType.TIFF, "request_type": RequestType.POST}
    return DownloadRequest(**{**given, **fields})


def test_a_folder_is_named_as_sentinelhub_py_names_it(theirs: ModuleType):
    """Caches made by it are found again."""
    expected = theirs.DownloadRequest(url=URL, post_values=PAYLOAD).get_hashed_name()
    assert request().get_hashed_name() == expected


def test_the_order_of_keys_does_not_change_the_name():
    """The same request said in another order has the same folder."""
    assert request(post_values=reversed_keys(PAYLOAD)).get_hashed_name() == request().get_hashed_name()


@given(payload=JSON)
def test_no_order_of_any_keys_changes_the_name(payload: Any):
    """Whatever the payload holds."""
    shuffled = request(post_values=reversed_keys(payload))
    assert shuffled.get_hashed_name() == request(post_values=payload).get_hashed_name()


@given(one=JSON, other=JSON)
def test_different_requests_have_different_names(one: Any, other: Any):
    """Equal names mean equal JSON."""
    same = request(post_values=one).get_hashed_name() == request(post_values=other).get_hashed_name()
    assert same == (json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True))


@pytest.mark.parametrize("filename", [None, "pictures/one.tiff"])
@pytest.mark.parametrize("folder", [None, "/data", "./data", "data/"])
def test_paths_are_sentinelhub_pys(theirs: ModuleType, folder: str | None, filename: str | None):
    """The same files in the same folders."""
    fields: dict[str, Any] = {"url": URL, "post_values": PAYLOAD, "data_folder": folder, "filename": filename}
    ours, other = DownloadRequest(**fields, data_type="tiff"), theirs.DownloadRequest(**fields, data_type="tiff")
    assert ours.get_relative_paths() == other.get_relative_paths()
    assert ours.get_storage_paths() == other.get_storage_paths()


def test_a_folder_may_be_a_path(tmp_path: Path):
    """Both ways of writing a folder mean the same files."""
    assert request(data_folder=tmp_path).get_storage_paths() == request(data_folder=str(tmp_path)).get_storage_paths()


def test_no_repr_shows_a_secret():
    """Neither the request's nor the response's, nested as deep as the payload has it."""
    asked = request(headers={"Authorization": f"Bearer {SECRET}"})
    assert SECRET not in repr(asked) + repr(DownloadResponse(request=asked, content=b""))
    assert "s3://bucket" in repr(asked)


def test_hiding_a_secret_leaves_the_payload_alone():
    """The copy is redacted, what is sent is not."""
    assert redacted(PAYLOAD)["output"]["delivery"]["s3"]["secretAccessKey"] == "***"
    assert PAYLOAD["output"]["delivery"]["s3"]["secretAccessKey"] == SECRET


def test_secrets_are_found_wherever_they_are():
    """Keys of S3 and of Google deliveries."""
    payload = {"a": [{"gs": {"url": "gs://b", "credentials": "key"}}], "output": PAYLOAD["output"]}
    assert secrets_of(payload) == {SECRET, "key"}


def test_enums_are_given_by_value_or_by_sentinelhub_pys(theirs: ModuleType):
    """The library's own members are as good as ours."""
    by_value = DownloadRequest(data_type="png", request_type="POST")  # type: ignore[arg-type]  # as theirs takes it
    by_theirs = DownloadRequest(data_type=theirs.MimeType.PNG)
    assert (by_value.data_type, by_value.request_type, by_theirs.data_type) == (
        MimeType.PNG,
        RequestType.POST,
        MimeType.PNG,
    )


def test_equal_requests_are_two_keys():
    """As in sentinelhub-py, which compares them by their fields and hashes them by identity."""
    one, two = request(), request()
    assert one == two
    assert {one: 1, two: 2}[one] == 1


def test_saving_needs_a_folder():
    """It is said before anything is sent."""
    with pytest.raises(ValueError, match="data_folder"):
        request(save_response=True).raise_if_invalid()


@pytest.mark.parametrize(
    ("asked", "said", "kind"),
    [
        ("tiff", "application/json", MimeType.TIFF),
        ("raw", "application/json;charset=utf-8", MimeType.JSON),
        ("raw", "image/png", MimeType.PNG),
    ],
)
def test_an_answer_is_what_was_asked_for_or_else_what_it_says(asked: str, said: str, kind: MimeType):
    """The headers decide only where nothing was asked for."""
    answer = DownloadResponse(request=request(data_type=asked), content=b"", headers={"Content-Type": said})
    assert answer.response_type is kind


def test_an_answer_is_derived_with_other_fields():
    """What is not given stays."""
    answer = DownloadResponse(request=request(), content=b"one", status_code=200)
    assert answer.derive(content=b"two") == DownloadResponse(request=answer.request, content=b"two", status_code=200)


def test_a_field_may_be_taken_away():
    """None is a value like any other."""
    assert (
        DownloadResponse(request=request(), content=b"", status_code=200).derive(status_code=None).status_code is None
    )


def test_an_answer_is_made_of_the_http_librarys():
    """Bytes, headers, status and seconds."""
    told = requests.Response()
    told.status_code, told._content, told.elapsed = 200, b"7", dt.timedelta(seconds=1.5)
    told.headers["Content-Type"] = "application/json"
    answer = DownloadResponse.from_response(told, request(data_type="raw"))
    assert (answer.decode(), answer.status_code, answer.elapsed) == (7, 200, 1.5)


def test_an_answer_goes_to_its_folder_and_back(tmp_path: Path):
    """The same answer, whoever reads it."""
    answer = DownloadResponse(request=request(data_folder=tmp_path), content=b"7", status_code=200)
    answer.to_local()
    assert DownloadResponse.from_local(answer.request) == answer


def test_an_answer_that_is_not_kept_is_not_found(tmp_path: Path):
    """And without a folder there is nowhere to look or write."""
    with pytest.raises(FileNotFoundError, match="response"):
        DownloadResponse.from_local(request(data_folder=tmp_path))
    with pytest.raises(ValueError, match="data_folder"):
        DownloadResponse.from_local(request())
    with pytest.raises(ValueError, match="data_folder"):
        DownloadResponse(request=request(), content=b"").to_local()
