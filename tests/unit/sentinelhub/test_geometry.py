"""Boxes and polygons do what sentinelhub-py's do."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from shdask.sentinelhub.crs import CRS
from shdask.sentinelhub.geometry import BBox, Geometry, read_bbox, read_geometry
from shdask.sentinelhub.sizes import bbox_to_dimensions

# sentinelhub-py's own calls
pytestmark = [
    pytest.mark.filterwarnings("ignore:The 'shapely.ops.transform:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Initializing `BBox`:DeprecationWarning"),
]
NUMBERS = (13.5, 45.25, 14.0, 46.5)
LIGHT = settings(max_examples=60, deadline=None)
lons, lats = st.floats(-170, 170).map(lambda v: round(v, 6)), st.floats(-70, 70).map(lambda v: round(v, 6))
corners = st.tuples(lons, lats, lons, lats)
POLYGON = shapely.Polygon([(13, 45), (14, 45.5), (14.5, 46.5), (13, 46)], [[(13.4, 45.6), (13.6, 45.6), (13.5, 45.8)]])
MULTI = shapely.MultiPolygon([POLYGON, shapely.box(15, 45, 16, 46)])


@pytest.mark.parametrize(
    "spelling",
    [
        NUMBERS,
        list(NUMBERS),
        ((13.5, 45.25), (14.0, 46.5)),
        ((14.0, 46.5), (13.5, 45.25)),
        (14.0, 45.25, 13.5, 46.5),
        {"min_x": 13.5, "min_y": 45.25, "max_x": 14.0, "max_y": 46.5},
        "13.5,45.25,14.0,46.5",
        "13.5 45.25 , 14.0 46.5",
        shapely.box(*NUMBERS),
        BBox(NUMBERS, CRS.WGS84),
    ],
    ids=repr,
)
def test_every_spelling_of_a_box_is_read(spelling: object) -> None:
    """Corners in any order and shape give (left, bottom, right, top)."""
    assert tuple(BBox(spelling, 4326)) == NUMBERS


@pytest.mark.parametrize(
    "wrong", [(1, 2, 3), 7, None, "1,2,3", {"min_x": 1}, ("a", 1, 2, 3), ((1, 2, 3), (4, 5))], ids=repr
)
def test_what_is_no_box_is_refused_alike(wrong: object, theirs: ModuleType) -> None:
    """The error is of sentinelhub-py's type."""
    assert _error(lambda: BBox(wrong, "4326")) is _error(lambda: theirs.BBox(wrong, "4326")) is not None


@LIGHT
@given(numbers=corners, epsg=st.sampled_from(["4326", "32633"]))
def test_a_box_tells_what_sentinelhub_py_tells(numbers: tuple[float, ...], epsg: str, theirs: ModuleType) -> None:
    """Corners, middle, polygon, GeoJSON, WKT and repr are equal."""
    assert _tell_box(BBox(numbers, epsg)) == _tell_box(theirs.BBox(numbers, epsg))


@LIGHT
@given(
    numbers=corners,
    buffer=st.one_of(st.floats(-1.5, 3), st.tuples(st.floats(-1.5, 3), st.floats(-1.5, 3)), st.just("1")),
    relative=st.booleans(),
)
def test_buffers_are_equal(numbers: tuple[float, ...], buffer: Any, relative: bool, theirs: ModuleType) -> None:
    """A buffer gives the same box, or is refused alike."""
    ours = _outcome(lambda: tuple(BBox(numbers, 4326).buffer(buffer, relative=relative)))
    assert ours == _outcome(lambda: tuple(theirs.BBox(numbers, 4326).buffer(buffer, relative=relative)))


@LIGHT
@given(
    numbers=corners.filter(lambda n: abs(n[0] - n[2]) > 1 and abs(n[1] - n[3]) > 1),
    counts=st.tuples(st.none() | st.integers(1, 4), st.none() | st.integers(1, 4)),
    sizes=st.tuples(st.none() | st.floats(20, 50), st.none() | st.floats(20, 50)),
)
def test_partitions_are_equal(
    numbers: tuple[float, ...], counts: tuple[Any, Any], sizes: tuple[Any, Any], theirs: ModuleType
) -> None:
    """The parts are the same boxes in the same places, or the choice is refused alike."""
    ours = _outcome(lambda: _edges(BBox(numbers, 4326).get_partition(*counts, *sizes)))
    assert ours == _outcome(lambda: _edges(theirs.BBox(numbers, 4326).get_partition(*counts, *sizes)))


@LIGHT
@given(lon=st.floats(12, 16), lat=st.floats(-60, 60), target=st.sampled_from(["4326", "3857", "32633", "32733"]))
def test_transformed_boxes_are_equal(lon: float, lat: float, target: str, theirs: ModuleType) -> None:
    """Both ways of transforming a box give the same numbers."""
    numbers = (lon, lat, lon + 0.5, lat + 0.25)
    ours, other = BBox(numbers, CRS.WGS84), theirs.BBox(numbers, theirs.CRS.WGS84)
    assert _edges([[ours.transform(target), ours.transform_bounds(target)]]) == _edges(
        [[other.transform(target), other.transform_bounds(target)]]
    )


@LIGHT
@given(
    lon=st.floats(-179, 178),
    lat=st.floats(-79, 78),
    resolution=st.floats(5, 500) | st.tuples(st.floats(5, 500), st.floats(5, 500)),
)
def test_dimensions_are_equal(lon: float, lat: float, resolution: Any, theirs: ModuleType) -> None:
    """A box has as many pixels at a resolution in metres as sentinelhub-py counts."""
    numbers = (lon, lat, lon + 0.1, lat + 0.07)
    assert bbox_to_dimensions(BBox(numbers, CRS.WGS84), resolution) == theirs.bbox_to_dimensions(
        theirs.BBox(numbers, theirs.CRS.WGS84), resolution
    )


def test_dimensions_of_a_utm_box_are_its_sides() -> None:
    """A box in metres is divided as it is: 2 km by 1 km at 10 m."""
    assert bbox_to_dimensions(BBox((500000, 5100000, 502000, 5101000), CRS.UTM_33N), 10) == (200, 100)


def test_transform_vector_is_gdals() -> None:
    """Left, width of a pixel, 0, top, 0, minus its height."""
    assert BBox(NUMBERS, 4326).get_transform_vector("10m", 20) == (13.5, 10.0, 0, 46.5, 0, -20.0)


@pytest.mark.parametrize(
    "shape", [POLYGON, MULTI, POLYGON.wkt, MULTI.__geo_interface__], ids=["polygon", "multi", "wkt", "json"]
)
def test_a_geometry_tells_what_sentinelhub_py_tells(shape: Any, theirs: ModuleType) -> None:
    """GeoJSON, WKT, bounds, reversed and transformed coordinates are equal."""
    assert _tell_geometry(Geometry(shape, "4326")) == _tell_geometry(theirs.Geometry(shape, "4326"))


@pytest.mark.parametrize("wrong", [shapely.Point(1, 2), {"type": "Nonsense"}, "POINT (1 2)", 7, None], ids=repr)
def test_what_is_no_polygon_is_refused_alike(wrong: Any, theirs: ModuleType) -> None:
    """The error is of sentinelhub-py's type."""
    assert _error(lambda: Geometry(wrong, 4326)) is _error(lambda: theirs.Geometry(wrong, 4326)) is not None


@pytest.mark.parametrize(
    ("member", "crs", "code"),
    [
        ({}, None, "4326"),
        ({}, "32633", "32633"),
        ({"crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3857"}}}, "32633", "3857"),
        ({"crs": None}, None, "4326"),
    ],
)
def test_geojson_says_its_crs(member: dict[str, Any], crs: str | None, code: str, theirs: ModuleType) -> None:
    """What the mapping says wins, then the argument, then WGS 84."""
    geojson = {**MULTI.__geo_interface__, **member}
    assert Geometry.from_geojson(geojson, crs).crs.value == code == theirs.Geometry.from_geojson(geojson, crs).crs.value


def test_geojson_comes_back() -> None:
    """A geometry survives its own GeoJSON, written and read."""
    there = Geometry(MULTI, CRS.UTM_33N)
    assert Geometry.from_geojson(json.loads(json.dumps(there.geojson))) == there


@pytest.mark.parametrize("place", [BBox(NUMBERS, 4326), Geometry(POLYGON, 32633)], ids=["bbox", "geometry"])
def test_places_are_values(place: BBox | Geometry) -> None:
    """A pickled place is equal to its original, and hashes alike."""
    copy = pickle.loads(pickle.dumps(place))  # noqa: S301  # our own bytes
    assert copy == place
    assert hash(copy) == hash(place)


def test_places_of_another_crs_differ() -> None:
    """Equal numbers in another CRS are another place."""
    assert BBox(NUMBERS, 4326) != BBox(NUMBERS, 3857)
    assert Geometry(POLYGON, 4326) != Geometry(POLYGON, 3857)


def test_places_of_sentinelhub_py_are_read(theirs: ModuleType) -> None:
    """Its boxes and geometries become ours with the same numbers."""
    assert read_bbox(theirs.BBox(NUMBERS, theirs.CRS.WGS84)) == BBox(NUMBERS, CRS.WGS84)
    assert read_geometry(theirs.Geometry(MULTI, theirs.CRS("3035"))) == Geometry(MULTI, CRS(3035))


@pytest.mark.parametrize("reader", [read_bbox, read_geometry])
@pytest.mark.parametrize("thing", [NUMBERS, POLYGON, "x", 3], ids=["tuple", "shapely", "text", "number"])
def test_places_without_crs_are_refused(reader: Callable[[Any], object], thing: Any) -> None:
    """Bare numbers say nothing of their CRS."""
    with pytest.raises(ValueError, match="with its CRS"):
        reader(thing)


def test_a_box_is_no_geometry_and_back() -> None:
    """Either argument takes its own kind only."""
    with pytest.raises(ValueError, match="geometry is a Geometry"):
        read_geometry(BBox(NUMBERS, 4326))
    with pytest.raises(ValueError, match="bbox is a BBox"):
        read_bbox(Geometry(POLYGON, 4326))


def _tell_box(box: Any) -> object:
    told = (box.lower_left, box.upper_right, box.middle, box.get_polygon(), box.get_polygon(reverse=True), tuple(box))
    texts = (box.wkt, repr(box), json.dumps(box.geojson), json.dumps(box.get_geojson(with_crs=False)))
    return told, texts, tuple(box.reverse()), tuple(box.apply(lambda x, y: (x + 1, y * 2)))


def _tell_geometry(shape: Any) -> object:
    texts = (shape.wkt, repr(shape), json.dumps(shape.geojson), json.dumps(shape.get_geojson(with_crs=False)))
    moved = (shape.reverse(), shape.transform("32633"), shape.transform("4326"), shape.apply(lambda x, y: (x + 1, y)))
    return texts, tuple(shape.bbox), [repr(one) for one in moved]


def _edges(rows: list[list[Any]]) -> list[list[tuple[float, ...]]]:
    return [[tuple(box) for box in row] for row in rows]


def _outcome(call: Callable[[], object]) -> object:
    try:
        return call()
    except (ValueError, TypeError, KeyError) as error:
        return type(error)


def _error(call: Callable[[], object]) -> object:
    outcome = _outcome(call)
    return outcome if isinstance(outcome, type) else None
