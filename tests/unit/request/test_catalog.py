"""Searches of the Catalog as they are sent, cut and priced."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import shape

from shdask.errors import PlanError
from shdask.model import TimeInterval
from shdask.request.catalog import (
    MAX_CORNERS,
    box_km2,
    search_areas,
    search_body,
    search_filter,
    search_intervals,
)
from shdask.testing.strategies import areas

VALLEY = shapely.box(14, 46, 14.2, 46.2)
JUNE = TimeInterval(start=datetime(2024, 6, 1, tzinfo=UTC), end=datetime(2024, 7, 1, tzinfo=UTC))
TRIANGLE = shapely.Polygon([(14, 46), (15, 46), (14, 47)])


def years(start: str, end: str) -> TimeInterval:
    return TimeInterval(
        start=datetime.fromisoformat(start).replace(tzinfo=UTC), end=datetime.fromisoformat(end).replace(tzinfo=UTC)
    )


def test_a_box_in_a_month_is_a_search() -> None:
    """Half-open becomes closed; a box is a bbox; links and assets are left out; nothing else is said."""
    body = search_body("sentinel-2-l2a", area=VALLEY, interval=JUNE)
    fields = body.pop("fields")
    assert body == {
        "collections": ["sentinel-2-l2a"],
        "datetime": "2024-06-01T00:00:00Z/2024-06-30T23:59:59.999Z",
        "bbox": [14.0, 46.0, 14.2, 46.2],
        "limit": 100,
    }
    assert {"id", "geometry", "bbox", "properties.datetime", "properties.eo:cloud_cover"} <= set(fields["include"])
    assert fields["exclude"] == ["links", "assets"]


def test_a_page_names_where_it_begins_and_what_it_filters() -> None:
    """As later pages of a filtered search."""
    body = search_body("sentinel-1-grd", area=VALLEY, interval=JUNE, cql="a = 1", limit=7, next=99)
    assert (body["filter"], body["filter-lang"], body["limit"], body["next"]) == ("a = 1", "cql2-text", 7, 99)


@given(areas())
def test_other_areas_are_sent_as_they_are(area: shapely.Polygon) -> None:
    """With holes, as GeoJSON that JSON holds."""
    body = json.loads(json.dumps(search_body("c", area=area, interval=JUNE)))
    sent = shapely.box(*body["bbox"]) if "bbox" in body else shape(body["intersects"])
    assert shapely.equals(sent, area)


def test_several_polygons_are_a_multipolygon() -> None:
    """One call for all of one side of the globe."""
    both = shapely.MultiPolygon([VALLEY, shapely.box(15, 47, 16, 48)])
    assert search_body("c", area=both, interval=JUNE)["intersects"]["type"] == "MultiPolygon"


@pytest.mark.parametrize(
    ("data_filter", "cql"),
    [
        ({}, None),
        ({"maxCloudCoverage": None}, None),
        ({"maxCloudCoverage": 30}, "eo:cloud_cover <= 30"),
        ({"orbitDirection": "ASCENDING"}, "sat:orbit_state = 'ascending'"),
        (
            {"acquisitionMode": "IW", "polarization": "DV", "resolution": "HIGH"},
            "sar:instrument_mode = 'IW' AND s1:polarization = 'DV' AND s1:resolution = 'HIGH'",
        ),
        ({"timeliness": "it's"}, "s1:timeliness = 'it''s'"),
    ],
)
def test_process_filters_are_the_catalogues(data_filter: dict[str, Any], cql: str | None) -> None:
    """By the names of Process requests, so that both choose the same scenes; texts are quoted."""
    assert search_filter(data_filter) == cql


def test_a_filter_that_the_catalogue_lacks_is_refused() -> None:
    """The axis would have scenes that no request delivers."""
    with pytest.raises(PlanError, match="cannot be searched by previewMode; it can by maxCloudCoverage"):
        search_filter({"previewMode": "DETAIL"})


@pytest.mark.parametrize(
    "area",
    [
        shapely.box(179, 10, 181, 11),
        shapely.box(-181, 10, -179, 11),
        shapely.MultiPolygon([shapely.box(179, 10, 180, 11), shapely.box(-180, 10, -179, 11)]),
    ],
)
def test_an_area_across_the_antimeridian_is_searched_on_either_side(area: shapely.Geometry) -> None:
    """One box around both sides would hold, and cost, the globe."""
    east, west = search_areas(area)
    assert shapely.equals(east, shapely.box(179, 10, 180, 11))
    assert shapely.equals(west, shapely.box(-180, 10, -179, 11))


def test_an_area_around_the_globe_is_one() -> None:
    """There are no two sides."""
    assert search_areas(shapely.box(-180, -10, 180, 10)) == (shapely.box(-180, -10, 180, 10),)


def test_an_area_of_many_corners_is_searched_by_its_hull() -> None:
    """It holds the area, and is small enough to send."""
    angles = np.linspace(0, 2 * np.pi, 4000)
    radius = 1 + 0.1 * np.cos(20 * angles)
    star = shapely.Polygon(np.stack((14 + radius * np.cos(angles), 46 + radius * np.sin(angles)), axis=1))
    (hull,) = search_areas(star)
    assert shapely.get_num_coordinates(hull) <= shapely.get_num_coordinates(star) / 2
    assert shapely.covers(hull, star)
    assert shapely.get_num_coordinates(star) > MAX_CORNERS


def test_a_small_area_is_searched_half_a_year_at_a_time() -> None:
    """So many scenes fit one page."""
    spans = list(search_intervals(VALLEY, years("2023-01-01", "2024-01-01")))
    assert [span.start.month for span in spans] == [1, 7]


@pytest.mark.parametrize(
    ("area", "days"),
    [(shapely.box(13, 45, 17, 48), 31), (shapely.box(-10, 36, 30, 60), 3), (shapely.box(-180, -60, 180, 80), 1)],
)
def test_a_larger_area_is_searched_by_shorter_spans(area: shapely.Geometry, days: int) -> None:
    """A month over a country, days over a continent."""
    first = next(iter(search_intervals(area, years("2024-01-01", "2025-01-01"))))
    assert first.end - first.start == timedelta(days=days)


@given(
    area=areas(max_side=20.0),
    start=st.datetimes(datetime(2015, 1, 1), datetime(2024, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  # naive ends
    days=st.floats(0.01, 1500),
)
def test_spans_cover_the_interval_once(area: shapely.Geometry, start: datetime, days: float) -> None:
    """One begins where the other ends."""
    interval = TimeInterval(start=start, end=start + timedelta(days=days))
    spans = list(search_intervals(area, interval))
    assert (spans[0].start, spans[-1].end) == (interval.start, interval.end)
    assert all(one.end == two.start for one, two in pairwise(spans))


def test_the_globe_has_its_area() -> None:
    """510 million square kilometres, as everywhere."""
    assert box_km2(shapely.box(-180, -90, 180, 90)) == pytest.approx(510.1e6, rel=1e-3)
