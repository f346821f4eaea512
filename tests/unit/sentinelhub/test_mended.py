"""The list of what sentinelhub-py 3.12 gets wrong when it writes a request, and we mend: what it does, then what we do.

Whatever is not here is equal: test_oracle.py.
"""

from __future__ import annotations

import copy
import json
import pickle
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import shapely

import shdask.sentinelhub as ours
from shdask.sentinelhub import (
    CRS,
    AsyncProcessRequest,
    BBox,
    DataCollection,
    Geometry,
    MimeType,
    SentinelHubRequest,
    SHConfig,
)

DEGREE = BBox((14, 45, 15, 46), CRS.WGS84)
METRES = BBox((500000, 5100000, 600000, 5125010), CRS.UTM_33N)
CONFIG = SHConfig(use_defaults=True)
TIFF = SentinelHubRequest.output_response("default", MimeType.TIFF)
DATA = SentinelHubRequest.input_data(DataCollection.SENTINEL2_L2A)
KEYS = AsyncProcessRequest.s3_specification("s3://bucket/prefix", "AK", "very-secret")


@pytest.mark.parametrize("percent", range(101))
def test_every_percent_of_cloud_cover_is_sent_as_written(percent: int) -> None:
    """A ``maxcc`` of two decimals is that percent."""
    entry = SentinelHubRequest.input_data(DataCollection.SENTINEL2_L2A, maxcc=percent / 100)
    assert entry["dataFilter"] == {"maxCloudCoverage": percent}


def test_float_noise_costs_no_percent(theirs: ModuleType) -> None:
    """``maxcc=0.29`` is 28 there and 29 here; 0.299 is 29 in both."""
    collection = theirs.DataCollection.SENTINEL2_L2A
    both = [side.SentinelHubRequest.input_data(collection, maxcc=0.29)["dataFilter"] for side in (theirs, ours)]
    assert both == [{"maxCloudCoverage": 28}, {"maxCloudCoverage": 29}]
    both = [side.SentinelHubRequest.input_data(collection, maxcc=0.299)["dataFilter"] for side in (theirs, ours)]
    assert both == [{"maxCloudCoverage": 29}, {"maxCloudCoverage": 29}]


@pytest.mark.parametrize(
    "script",
    [{}, {"evalscript": "//VERSION=3", "evalscript_reference": KEYS}],
    ids=["neither", "both"],
)
def test_a_job_has_exactly_one_evalscript(script: dict[str, Any], theirs: ModuleType) -> None:
    """None and two are sent there; here they are refused."""
    place = theirs.BBox((14, 45, 15, 46), theirs.CRS.WGS84)
    config = theirs.SHConfig(use_defaults=True)
    asked = {**script, "input_data": [DATA], "responses": [TIFF], "delivery": KEYS, "bbox": place, "config": config}
    assert theirs.AsyncProcessRequest(**asked).payload["input"]
    with pytest.raises(ValueError, match="exactly one of evalscript and evalscript_reference"):
        AsyncProcessRequest(**asked)


@pytest.mark.parametrize(
    ("grid", "told"),
    [
        ({"size": (2501, 10)}, "width is 2501 pixels, and"),
        ({"size": (10, 2501)}, "height is 2501 pixels, and"),
        ({"resolution": (39, 39)}, "width is 2564 pixels, from resx=39, and"),
        ({"resolution": (100, 10)}, "height is 2501 pixels, from resy=10, and"),
    ],
)
@pytest.mark.parametrize(
    "place", [{"bbox": METRES}, {"geometry": Geometry(METRES.geometry, METRES.crs)}], ids=["bbox", "geometry"]
)
def test_pictures_that_are_too_large_are_not_asked_for(place: dict[str, Any], grid: dict[str, Any], told: str) -> None:
    """The Process API renders 2500 pixels a side, counted from the bounds where a resolution is given."""
    with pytest.raises(ValueError, match=told):
        SentinelHubRequest("//", [DATA], [TIFF], **place, **grid, config=CONFIG)


@pytest.mark.parametrize("grid", [{"size": (2500, 2500)}, {"resolution": (40, 10.004)}, {"resolution": (40, 10.003)}])
def test_pictures_that_just_fit_are_asked_for(grid: dict[str, Any]) -> None:
    """The limit itself is sent, and so is what a rounding of the service may bring down to it."""
    assert SentinelHubRequest("//", [DATA], [TIFF], METRES, **grid, config=CONFIG).payload["output"]["responses"] == [
        TIFF
    ]


@pytest.mark.parametrize(("side", "fits"), [(10_000, True), (10_001, False)])
def test_jobs_may_be_four_times_as_wide(side: int, fits: bool) -> None:
    """An Async Process job renders 10000 pixels a side."""
    assert _is_taken(size=(side, side)) is fits


def test_s3_secrets_are_sent_and_not_shown(theirs: ModuleType) -> None:
    """The secret is in the JSON, and in no repr of specification, payload or request."""
    shown = repr(theirs.AsyncProcessRequest.s3_specification("s3://b", "AK", "very-secret"))
    assert "very-secret" in shown
    request = _job(delivery=KEYS)
    assert json.loads(json.dumps(request.payload))["output"]["delivery"]["s3"]["secretAccessKey"] == "very-secret"
    assert "very-secret" not in f"{KEYS} {request.payload!r} {request.download_list!r} {request!r}"


def test_secrets_of_a_users_own_dictionary_are_not_shown() -> None:
    """A delivery or reference that was written by hand is masked all the same, and is left as it was."""
    own = {"s3": {"url": "s3://b", "accessKey": "AK", "secretAccessKey": "very-secret"}}
    request = _job(delivery=own, evalscript=None, evalscript_reference=own)
    assert "very-secret" not in repr(request.payload)
    assert request.payload["evalscriptReference"] == own == request.payload["output"]["delivery"]
    assert "very-secret" in repr(own)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))], ids=["copy", "pickle"])  # noqa: S301  # our own bytes
def test_copies_hide_secrets_too(copied: Any) -> None:
    """A secret stays hidden, and stays the secret, in copies and on the way to another process."""
    assert "very-secret" not in repr(copied(KEYS))
    assert copied(KEYS) == KEYS


def test_what_is_given_is_not_changed(theirs: ModuleType) -> None:
    """``other_args`` changes the caller's own bounds there; here they stay."""
    bounds = {"properties": {"crs": "x"}}
    more = {"input": {"bounds": {"properties": {"crs": "y"}}}}
    assert SentinelHubRequest.body(bounds, [], "//", None, more)["input"] == {**more["input"], "data": []}
    assert bounds == {"properties": {"crs": "x"}}
    theirs.SentinelHubRequest.body(bounds, [], "//", None, more)
    assert bounds == {"properties": {"crs": "y"}}


@pytest.mark.parametrize(
    ("spelled", "sent"), [("jpeg", "image/jpeg"), ("image/png", "image/png"), ("tif", "image/tiff")]
)
def test_formats_are_read_as_documented(spelled: str, sent: str, theirs: ModuleType) -> None:
    """Usual spellings of a format, its own documentation's among them, are errors there; here they are read."""
    with pytest.raises(ValueError, match="not a valid MimeType"):
        theirs.SentinelHubRequest.output_response("default", spelled)
    assert SentinelHubRequest.output_response("default", spelled)["format"] == {"type": sent}


def test_the_usual_urn_of_wgs84_is_read(theirs: ModuleType) -> None:
    """GeoJSON's standard name of WGS 84 is an error there; here it is WGS 84."""
    geojson = {
        "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}},
        **shapely.geometry.mapping(shapely.box(14, 45, 15, 46)),
    }
    with pytest.raises(ValueError, match="could not be parsed"):
        theirs.Geometry.from_geojson(geojson)
    assert Geometry.from_geojson(geojson).crs is CRS.WGS84


def test_numpy_sizes_can_be_sent(theirs: ModuleType) -> None:
    """A size of numpy numbers is no JSON there; here it is written as numbers."""
    size = tuple(np.array([12, 34]))
    with pytest.raises(TypeError, match="not JSON serializable"):
        json.dumps(theirs.SentinelHubRequest.output([], size=size))
    assert json.dumps(SentinelHubRequest.output([], size=size)) == '{"responses": [], "width": 12, "height": 34}'


@pytest.mark.filterwarnings("ignore:The 'shapely.ops.transform:DeprecationWarning")
def test_operations_get_one_corner_at_a_time(theirs: ModuleType) -> None:
    """A function of a corner's numbers gets a tuple of all of them there; here it gets one corner."""
    square = shapely.box(1, 1, 2, 2)
    swap_and_double = lambda x, y: (y * 2, x)  # noqa: E731  # two authorities, one operation
    doubled = Geometry(square, 3857).apply(swap_and_double)
    assert tuple(doubled.bbox) == (2.0, 1.0, 4.0, 2.0)
    assert tuple(theirs.Geometry(square, 3857).apply(swap_and_double).bbox) != (2.0, 1.0, 4.0, 2.0)


def _job(**changed: Any) -> AsyncProcessRequest:
    said = {
        "evalscript": "//",
        "input_data": [DATA],
        "responses": [TIFF],
        "delivery": KEYS,
        "bbox": DEGREE,
        "config": CONFIG,
    }
    return AsyncProcessRequest(**{**said, **changed})


def _is_taken(**changed: Any) -> bool:
    try:
        return bool(_job(**changed).payload)
    except ValueError:
        return False
