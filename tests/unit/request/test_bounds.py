"""Where a request looks, as the service's JSON."""

from __future__ import annotations

import math

import pytest

from shdask.errors import PlanError
from shdask.request.bounds import bounds_json, crs_uri

POLYGON = {"type": "Polygon", "coordinates": [[[14.0, 46.0], [14.1, 46.0], [14.1, 46.1], [14.0, 46.0]]]}


@pytest.mark.parametrize("epsg", [4326, 32633])
def test_a_crs_is_named_by_its_opengis_uri(epsg: int):
    """The only form the service accepts; 4326 is no exception."""
    assert crs_uri(epsg) == f"http://www.opengis.net/def/crs/EPSG/0/{epsg}"


def test_a_code_that_is_none_is_refused():
    """A zero would come back from the service as a puzzle."""
    with pytest.raises(PlanError, match="EPSG code 0"):
        crs_uri(0)


def test_a_bbox_is_written_after_its_crs_as_four_numbers():
    """Left, bottom, right, top, as floats, in the key order of the service's own client."""
    bounds = bounds_json(32633, bbox=(500000, 5100000, 500050, 5100040))
    assert list(bounds.items()) == [
        ("properties", {"crs": "http://www.opengis.net/def/crs/EPSG/0/32633"}),
        ("bbox", [500000.0, 5100000.0, 500050.0, 5100040.0]),
    ]


def test_a_geometry_may_stand_alone():
    """The picture then covers its envelope."""
    bounds = bounds_json(4326, geometry=POLYGON)
    assert bounds == {"properties": {"crs": "http://www.opengis.net/def/crs/EPSG/0/4326"}, "geometry": POLYGON}


def test_bbox_and_geometry_are_sent_together():
    """The bbox gives the picture's frame, the geometry what is rendered."""
    assert list(bounds_json(4326, bbox=(14, 46, 15, 47), geometry=POLYGON)) == ["properties", "bbox", "geometry"]


def test_a_request_for_nowhere_is_refused():
    """Neither bbox nor geometry is no request."""
    with pytest.raises(PlanError, match="a bbox or a geometry"):
        bounds_json(4326)


@pytest.mark.parametrize(
    "bbox", [(1.0, 0.0, 0.0, 1.0), (0.0, 1.0, 1.0, 1.0), (0.0, 0.0, math.nan, 1.0), (0.0, 0.0, math.inf, 1.0)]
)
def test_a_bbox_without_an_area_is_refused(bbox: tuple[float, float, float, float]):
    """Swapped, flat and infinite boxes are mistakes of ours, found before they are paid for."""
    with pytest.raises(PlanError, match="left, bottom, right, top"):
        bounds_json(32633, bbox=bbox)
