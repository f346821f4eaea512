"""The body of a Process request, key by key."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shdask.errors import PlanError
from shdask.model import TimeInterval
from shdask.request.body import data_json, encode_json, process_body, time_range_json
from shdask.request.bounds import bounds_json

JUNE = TimeInterval(start=datetime(2024, 6, 1, tzinfo=UTC), end=datetime(2024, 7, 1, tzinfo=UTC))
EPOCH = datetime(2024, 1, 1, tzinfo=UTC)


def test_a_request_has_exactly_these_keys_in_this_order():
    """The body is what the service's own client would send for the same wish, its order included."""
    body = process_body(
        bounds=bounds_json(32633, bbox=(500000.0, 5100000.0, 500050.0, 5100040.0)),
        data=[
            data_json(
                "sentinel-2-l2a",
                interval=JUNE,
                max_cloud_cover=0.3,
                mosaicking_order="leastCC",
                upsampling="bicubic",
                downsampling="nearest",
            )
        ],
        evalscript="//VERSION=3",
        width=5,
        height=4,
    )
    assert json.dumps(body) == (
        '{"input": {"bounds": {"properties": {"crs": "http://www.opengis.net/def/crs/EPSG/0/32633"}, '
        '"bbox": [500000.0, 5100000.0, 500050.0, 5100040.0]}, "data": [{"type": "sentinel-2-l2a", '
        '"dataFilter": {"timeRange": {"from": "2024-06-01T00:00:00Z", "to": "2024-06-30T23:59:59.999Z"}, '
        '"maxCloudCoverage": 30, "mosaickingOrder": "leastCC"}, '
        '"processing": {"upsampling": "BICUBIC", "downsampling": "NEAREST"}}]}, "evalscript": "//VERSION=3", '
        '"output": {"responses": [{"identifier": "default", "format": {"type": "image/tiff"}}], '
        '"width": 5, "height": 4}}'
    )


def test_what_is_not_given_is_not_sent():
    """The service's defaults hold; empty objects would only look like choices."""
    assert data_json("dem") == {"type": "dem"}


@pytest.mark.parametrize(("share", "percent"), [(0.0, 0), (0.29, 29), (0.57, 57), (0.6, 60), (1.0, 100)])
def test_cloud_cover_is_rounded_to_percent(share: float, percent: int):
    """0.29 x 100 falls below 29 in binary and must not become 28."""
    assert data_json("s", max_cloud_cover=share)["dataFilter"] == {"maxCloudCoverage": percent}


@pytest.mark.parametrize("share", [-0.1, 1.5, 30.0, float("nan")])
def test_cloud_cover_beyond_a_share_is_refused(share: float):
    """30 means 30 % to many: they are told to write 0.3."""
    with pytest.raises(PlanError, match=r"write 0\.3"):
        data_json("s", max_cloud_cover=share)


@given(st.integers(0, 10**9), st.integers(1, 10**9), st.integers(1, 10**9))
def test_intervals_that_meet_share_no_millisecond_and_miss_none(first: int, second: int, third: int):
    """A scene at any instant falls in exactly one of two neighbouring steps."""
    a, b, c = (EPOCH + timedelta(milliseconds=ms) for ms in (first, first + second, first + second + third))
    before = time_range_json(TimeInterval(start=a, end=b))
    after = time_range_json(TimeInterval(start=b, end=c))
    gap = datetime.fromisoformat(after["from"]) - datetime.fromisoformat(before["to"])
    assert gap == timedelta(milliseconds=1)


def test_a_closed_range_holds_only_milliseconds_of_the_interval():
    """Bounds between milliseconds are drawn inward at the start and outward before the end's own millisecond."""
    start = datetime(2024, 6, 1, 0, 0, 0, 1, tzinfo=UTC)
    interval = TimeInterval(start=start, end=start + timedelta(milliseconds=2))
    assert time_range_json(interval) == {"from": "2024-06-01T00:00:00.001Z", "to": "2024-06-01T00:00:00.002Z"}


def test_an_interval_without_a_millisecond_is_refused():
    """The service's range is closed: it could only ask for something else."""
    start = datetime(2024, 6, 1, 0, 0, 0, 1, tzinfo=UTC)
    with pytest.raises(PlanError, match="no millisecond"):
        time_range_json(TimeInterval(start=start, end=start + timedelta(microseconds=5)))


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (-1, 5)])
def test_a_picture_without_pixels_is_refused(width: int, height: int):
    """The service would answer with its default size instead."""
    with pytest.raises(PlanError, match="has no pixel"):
        process_body(bounds={}, data=[], evalscript="", width=width, height=height)


def test_equal_bodies_are_equal_bytes():
    """Key order and spaces say nothing, so that bytes can be compared and hashed."""
    assert encode_json({"b": [1, 2.5], "a": "ž"}) == '{"a":"ž","b":[1,2.5]}'.encode()


def test_a_number_json_cannot_hold_is_refused():
    """Python would write NaN, which no JSON parser must accept."""
    with pytest.raises(PlanError, match="cannot be written as JSON"):
        encode_json({"bbox": [float("nan")]})


def test_a_collections_own_options_stand_beside_the_layers() -> None:
    """Radar as it should be: filtered, orthorectified, and named for a script that reads it beside others."""
    found = data_json(
        "sentinel-1-grd",
        interval=None,
        mosaicking_order="mostRecent",
        upsampling="bilinear",
        identifier="radar",
        data_filter={"polarization": "DV"},
        processing={"orthorectify": True},
    )
    assert found == {
        "type": "sentinel-1-grd",
        "id": "radar",
        "dataFilter": {"mosaickingOrder": "mostRecent", "polarization": "DV"},
        "processing": {"upsampling": "BILINEAR", "orthorectify": True},
    }


def test_an_option_is_not_said_twice() -> None:
    """Else the later would win in silence."""
    with pytest.raises(PlanError, match="mosaickingOrder is said twice"):
        data_json("s", mosaicking_order="leastCC", data_filter={"mosaickingOrder": "mostRecent"})


def test_several_outputs_are_named_one_by_one() -> None:
    """Each as a TIFF of its own."""
    body = process_body(bounds={}, data=[], evalscript="//VERSION=3", width=1, height=1, outputs=["default", "classes"])
    assert [response["identifier"] for response in body["output"]["responses"]] == ["default", "classes"]
    assert {response["format"]["type"] for response in body["output"]["responses"]} == {"image/tiff"}
