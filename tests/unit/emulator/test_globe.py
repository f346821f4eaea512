"""Areas on the globe: bent, cut at the antimeridian, whole over the poles."""

from __future__ import annotations

import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from shapely.geometry import MultiPolygon, Point, Polygon, box

from shdask.emulator.globe import WORLD, describe_projection, to_degrees, wrap, write_multipolygon


def test_degrees_stay_as_they_are():
    """A box in degrees is itself."""
    assert to_degrees(box(14, 46, 15, 47), "EPSG:4326").equals(box(14, 46, 15, 47))


def test_degrees_beyond_a_turn_come_back():
    """A box from 170 to 190 degrees lies on both sides of the antimeridian."""
    expected = MultiPolygon([box(170, -10, 180, 10), box(-180, -10, -170, 10)])
    assert to_degrees(box(170, -10, 190, 10), "EPSG:4326").equals(expected)
    assert wrap(box(-190, -10, -170, 10)).equals(expected)


@given(
    x=st.floats(-300_000, 1_300_000),
    y=st.floats(0, 9_000_000),
    inside=st.tuples(st.floats(0.02, 0.98), st.floats(0.02, 0.98)),
    zone=st.sampled_from([1, 17, 31, 60]),
)
@settings(deadline=None)
def test_points_of_a_square_are_in_its_area(x, y, inside, zone):
    """What lies in a square of UTM lies in the square's area in degrees, beyond the antimeridian too."""
    crs = f"EPSG:{32600 + zone}"
    longitude, latitude = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(
        x + inside[0] * 50_000, y + inside[1] * 50_000
    )
    assume(abs(longitude) < 179.9)
    area = to_degrees(box(x, y, x + 50_000, y + 50_000), crs)
    assert area.contains(Point(longitude, latitude))
    assert WORLD.covers(area)
    assert area.area < 10 / max(1e-3, abs(90 - latitude) / 90)


@pytest.mark.parametrize(
    ("crs", "pole", "elsewhere"),
    [("EPSG:3413", Point(10, 89.999), Point(10, 60)), ("EPSG:3031", Point(10, -89.999), Point(10, -60))],
)
def test_pole_lies_in_the_square_around_it(crs, pole, elsewhere):
    """A square over a pole holds it, all longitudes near it, and nothing far away."""
    area = to_degrees(box(-500_000, -500_000, 500_000, 500_000), crs)
    assert area.contains(pole)
    assert not area.intersects(elsewhere)
    assert area.bounds[0] == -180
    assert area.bounds[2] == 180


def test_holes_stay_holes():
    """A ring in UTM is a ring in degrees."""
    ring = Polygon(
        box(400_000, 5_000_000, 500_000, 5_100_000).exterior, [box(440_000, 5_040_000, 460_000, 5_060_000).exterior]
    )
    area = to_degrees(ring, "EPSG:32633")
    assert not area.contains(Point(Transformer.from_crs(32633, 4326, always_xy=True).transform(450_000, 5_050_000)))
    assert area.contains(Point(Transformer.from_crs(32633, 4326, always_xy=True).transform(410_000, 5_010_000)))


def test_what_is_nowhere_is_everywhere():
    """An area that no edge of lies on the globe could be anywhere."""
    assert to_degrees(box(1e8, 1e8, 2e8, 2e8), "EPSG:32633") == WORLD


@pytest.mark.parametrize(
    ("area", "epsg"), [(box(14, 46, 15, 47), 32633), (box(-71, -34, -70, -33), 32719), (box(179, 1, 180, 2), 32660)]
)
def test_projection_is_the_zone_of_the_middle(area, epsg):
    """The UTM zone, its box on whole tens of metres around the projected area, which projects back."""
    described = describe_projection(area)
    left, bottom, right, top = described["proj:bbox"]
    projected = shapely.geometry.shape(described["proj:geometry"])
    assert described["proj:epsg"] == epsg
    assert [edge % 10 for edge in (left, bottom, right, top)] == [0, 0, 0, 0]
    assert box(left, bottom, right, top).contains(projected)
    back = Transformer.from_crs(epsg, 4326, always_xy=True)
    assert shapely.transform(projected, back.transform, interleaved=False).equals_exact(MultiPolygon([area]), 1e-6)


def test_geometries_are_multipolygons_that_name_their_crs():
    """As the service writes them, whatever they were; lines between polygons are dropped."""
    parts = shapely.geometry.GeometryCollection([box(0, 0, 1, 1), Point(5, 5)])
    written = write_multipolygon(parts, "OGC::CRS84")
    assert written["crs"]["properties"]["name"] == "urn:ogc:def:crs:OGC::CRS84"
    assert shapely.geometry.shape(written).equals(box(0, 0, 1, 1))
