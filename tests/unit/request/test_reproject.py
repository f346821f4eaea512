"""Polygons from one CRS to another."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Geod, Transformer

from shdask.errors import PlanError
from shdask.request.reproject import (
    SUPPORTED_EPSG,
    clean,
    find_centre,
    reproject,
    split_at_antimeridian,
    utm_epsg,
)

WGS84 = "EPSG:4326"
WIDE_BOX = shapely.box(13.0, 45.0, 17.0, 47.0)
FIJI_JUMPING = shapely.Polygon([(177, -20), (-178, -20), (-178, -15), (177, -15)])


def true_border(polygon: shapely.Polygon, target: str) -> np.ndarray:
    """The polygon's edges as 4000 projected points."""
    points = shapely.line_interpolate_point(polygon.exterior, np.linspace(0, 1, 4001), normalized=True)
    x, y = Transformer.from_crs(WGS84, target, always_xy=True).transform(shapely.get_x(points), shapely.get_y(points))
    return shapely.points(x, y)


@pytest.mark.parametrize("target", ["EPSG:32633", "EPSG:3035", "EPSG:3857", "EPSG:3995"])
@pytest.mark.parametrize("tolerance", [1.0, 200.0])
def test_edges_stay_within_the_tolerance_of_their_true_course(target: str, tolerance: float) -> None:
    """Measured by shapely against densely projected points."""
    border = reproject(WIDE_BOX, WGS84, target, tolerance=tolerance).exterior
    assert shapely.distance(border, true_border(WIDE_BOX, target)).max() < tolerance


def test_an_edge_that_bends_both_ways_is_divided_too() -> None:
    """Its middle lies on the chord: point symmetry about the equator's crossing with the central meridian."""
    wedge = shapely.Polygon([(10.0, -8.0), (20.0, 8.0), (10.0, 8.0)])
    border = reproject(wedge, WGS84, "EPSG:32633", tolerance=1000.0).exterior
    assert shapely.distance(border, true_border(wedge, "EPSG:32633")).max() < 1000.0


def test_corners_alone_would_be_two_kilometres_off() -> None:
    """Why edges are divided at all."""
    bare = reproject(WIDE_BOX, WGS84, "EPSG:32633", tolerance=1e9).exterior
    assert shapely.distance(bare, true_border(WIDE_BOX, "EPSG:32633")).max() > 1900.0
    assert shapely.get_num_points(bare) == 5


@given(st.floats(5, 25), st.floats(35, 60), st.floats(0.01, 5), st.floats(-5, 5))
@settings(max_examples=30, deadline=None)
def test_neighbours_keep_one_common_edge(x: float, y: float, dx: float, dy: float) -> None:
    """An edge walked either way gets the same points, bit for bit."""
    a, b = (x, y), (x + dx, y + dy)
    left = shapely.Polygon([a, b, (x - 1, y + 9)])
    right = shapely.Polygon([b, a, (x + 1, y - 9)])
    ours, theirs = (
        shapely.get_coordinates(reproject(shape, WGS84, "EPSG:3035", tolerance=5.0)) for shape in (left, right)
    )
    end = np.flatnonzero((ours == reprojected_point(b)).all(axis=1))[0]
    np.testing.assert_array_equal(ours[: end + 1], theirs[: end + 1][::-1])


def reprojected_point(point: tuple[float, float]) -> np.ndarray:
    x, y = Transformer.from_crs(WGS84, "EPSG:3035", always_xy=True).transform([point[0]], [point[1]])
    return np.array([x[0], y[0]])


def test_the_same_crs_changes_nothing() -> None:
    """Not a vertex is added."""
    assert reproject(WIDE_BOX, WGS84, WGS84, tolerance=1e-9) is WIDE_BOX


def test_holes_and_parts_are_kept() -> None:
    """A part with a hole and a part without."""
    holed = shapely.Polygon(WIDE_BOX.exterior, [shapely.box(14, 45.5, 15, 46).exterior])
    both = reproject(shapely.MultiPolygon([holed, shapely.box(18, 45, 19, 46)]), WGS84, "EPSG:32633", tolerance=1.0)
    assert [len(part.interiors) for part in both.geoms] == [1, 0]


def test_an_area_across_the_antimeridian_is_one_piece_in_utm() -> None:
    """Fiji's box, jumping from 177 to -178, with the size that the ellipsoid gives it."""
    degrees, _ = clean(FIJI_JUMPING, WGS84)
    metres = reproject(degrees, WGS84, "EPSG:32760", tolerance=10.0)
    true_area, _ = Geod(ellps="WGS84").geometry_area_perimeter(shapely.segmentize(shapely.box(177, -20, 182, -15), 0.1))
    assert metres.geom_type == "Polygon"
    assert metres.area == pytest.approx(abs(true_area), rel=0.005)


@pytest.mark.parametrize("source", [WGS84, "EPSG:32760", "EPSG:3857"])
def test_an_area_across_the_antimeridian_is_split_in_degrees(source: str) -> None:
    """From degrees, UTM or web mercator: two pieces, each on its side, 25 square degrees in all."""
    there = reproject(shapely.box(177, -20, 182, -15), WGS84, source, tolerance=10.0)
    back = split_at_antimeridian(reproject(there, source, WGS84, tolerance=1e-5), WGS84)
    west, east = sorted(part.bounds for part in back.geoms)
    assert west == pytest.approx((-180, -20, -178, -15), abs=1e-3)
    assert east == pytest.approx((177, -20, 180, -15), abs=1e-3)
    assert back.area == pytest.approx(25.0, abs=0.01)


def test_an_area_across_the_antimeridian_is_split_in_web_mercator() -> None:
    """Both pieces end at half the world's girth."""
    shape = split_at_antimeridian(
        reproject(shapely.box(177, -20, 182, -15), WGS84, "EPSG:3857", tolerance=10.0), "EPSG:3857"
    )
    assert [part.bounds[0] for part in shape.geoms].count(pytest.approx(-20037508.342789244)) == 1
    assert [part.bounds[2] for part in shape.geoms].count(pytest.approx(20037508.342789244)) == 1


def test_the_whole_world_is_not_taken_for_a_jump() -> None:
    """A side of 360 degrees is a map's edge."""
    world = shapely.Polygon([(-180, -60), (180, -60), (180, 60), (-180, 60)])
    assert clean(world, WGS84).geometry.bounds == (-180, -60, 180, 60)


def test_a_hole_turns_with_its_shell() -> None:
    """The shell goes on past 180, and the hole is written at -179."""
    holed = shapely.Polygon(FIJI_JUMPING.exterior, [[(-179.5, -18), (-179, -18), (-179, -17), (-179.5, -17)]])
    assert clean(holed, WGS84).geometry.area == pytest.approx(25 - 0.5)


def test_a_ring_around_a_pole_is_refused() -> None:
    """Degrees cannot hold it; the message offers a polar CRS."""
    ring = shapely.Polygon([(-120, 80), (0, 80), (120, 80)])
    with pytest.raises(PlanError, match=r"\(-120, 80\) goes around a pole.*EPSG:3995"):
        clean(ring, WGS84)


def test_metres_taken_for_degrees_are_refused() -> None:
    """Coordinates of a projected file without its CRS."""
    with pytest.raises(PlanError, match=r"5e\+06 to 5\.1e\+06 are no degrees; say with aoi_crs"):
        clean(shapely.box(400000, 5000000, 500000, 5100000), WGS84)


def test_a_point_without_a_place_in_the_target_is_named() -> None:
    """The pole is infinitely far in web mercator."""
    with pytest.raises(PlanError, match=r"\(10, 90\) in EPSG:4326 has no place in EPSG:3857"):
        reproject(shapely.box(0, 80, 10, 90), WGS84, "EPSG:3857", tolerance=1.0)


def test_a_crossing_that_can_be_read_in_one_way_is_mended_and_noted() -> None:
    """A bow tie is two triangles by either method."""
    bow_tie = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    mended = clean(bow_tie, "EPSG:32633")
    assert mended.geometry.is_valid
    assert mended.geometry.area == pytest.approx(50.0)
    assert mended.notes == ("aoi: repaired: Self-intersection[5 5]",)


def test_a_crossing_that_can_be_read_in_two_ways_is_refused_with_its_place() -> None:
    """Whether the middle of a pentagram is inside cannot be known."""
    pentagram = shapely.Polygon([(0, 3), (2, -3), (-3, 1), (3, 1), (-2, -3)])
    with pytest.raises(PlanError, match=r"ambiguous: Self-intersection\[0\.66.* 1\].*make_valid"):
        clean(pentagram, "EPSG:32633")


def test_overlapping_features_are_united() -> None:
    """What two features share is in the area once."""
    both = shapely.GeometryCollection([shapely.box(0, 0, 2, 1), shapely.box(1, 0, 3, 1)])
    assert clean(both, "EPSG:32633").geometry.area == pytest.approx(3.0)


def test_the_centre_is_found_on_the_shorter_way_around() -> None:
    """Fiji in two parts lies at 179.5 east, not in the Gulf of Guinea."""
    parts = shapely.MultiPolygon([shapely.box(177, -20, 180, -15), shapely.box(-180, -20, -178, -15)])
    assert find_centre(parts, WGS84) == pytest.approx((179.5, -17.5))


@given(st.integers(-180_000, 179_999).map(lambda n: n / 1000), st.floats(-79.9, 83.9))
@settings(max_examples=40, deadline=None)
def test_the_utm_zone_is_the_one_whose_area_of_use_holds_the_point(longitude: float, latitude: float) -> None:
    """By the EPSG registry that PROJ ships."""
    use = CRS.from_epsg(utm_epsg(longitude, latitude)).area_of_use
    assert use.west <= longitude <= use.east
    assert use.south <= latitude <= use.north


def test_the_service_renders_in_146_crs() -> None:
    """2 global, 120 UTM and 24 national ones, as its documentation lists."""
    assert len(SUPPORTED_EPSG) == 146
