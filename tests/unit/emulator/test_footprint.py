"""Footprints: a point has data in a scene exactly if it lies in the scene's footprint."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from shapely.geometry import Point, box

from shdask.emulator.archive import ArchiveSource
from shdask.emulator.globe import WORLD
from shdask.emulator.lattice import make_lattice
from shdask.emulator.process.choices import Choices
from shdask.emulator.source import CataloguedSource
from shdask.emulator.world.earth import Earth, EarthSource
from shdask.emulator.world.landsat import LandsatSource
from shdask.emulator.world.radar import RadarSource

from .test_archive import write

EARTH = Earth(7)
SURFACE = EarthSource(EARTH, surface=True)
SOURCES = [SURFACE, RadarSource(EARTH), LandsatSource(EARTH, surface=False)]
PIXEL_DEGREES = 1e-4
TWO_PIXELS = 2 * PIXEL_DEGREES
SCENE = "sentinel-2-l1c_T18SVG_2016-01-12"


def has_data(source, scene, longitude, latitude):
    """Whether one pixel of about 10 m around a point has data in a scene."""
    half = PIXEL_DEGREES / 2
    bbox = (longitude - half, latitude - half, longitude + half, latitude + half)
    lattice = make_lattice("EPSG:4326", bbox, 1, 1)
    pixels = source.render(scene, [], lattice, Choices(), np.ones((1, 1), dtype=bool))
    return pixels is not None and bool(pixels.data_mask[0, 0])


def draw_scene(source, data, west, south):
    """A scene around a place, within ten days of a random day."""
    start = datetime(2016, 1, 1, tzinfo=UTC) + timedelta(days=data.draw(st.integers(0, 3000)))
    area = box(west, south, west + 0.5, south + 0.5)
    found = list(source.search(area, start, start + timedelta(days=10)))
    assume(found)
    return data.draw(st.sampled_from(found))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
@pytest.mark.parametrize("part", ["inside", "around"])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_scene_has_data_exactly_in_its_footprint(source, part, data):
    """At any point two pixels off its edge, a scene of the Earth has data if and only if its footprint holds it."""
    scene = draw_scene(source, data, data.draw(st.floats(-180, 179.5)), data.draw(st.floats(-89, 88)))
    footprint = source.footprint(scene)
    west, south, east, north = footprint.bounds if part == "inside" else footprint.buffer(0.3).bounds
    point = Point(
        np.clip(data.draw(st.floats(west, east)), -179.999, 179.999),
        np.clip(data.draw(st.floats(south, north)), -89.9, 89.9),
    )
    assume(footprint.boundary.distance(point) > TWO_PIXELS / np.cos(np.radians(point.y)))
    assert has_data(source, scene, point.x, point.y) == footprint.contains(point)


def test_edges_are_true_to_ten_metres():
    """Round a scene cut by its swath, all points just inside have data, all just outside have none."""
    start = datetime(2024, 6, 1, tzinfo=UTC)
    found = SURFACE.search(box(5, 55, 15, 60), start, start + timedelta(days=3))
    scene = next(scene for scene in found if 0.2 < SURFACE.footprint(scene).area < 0.7)
    within, beyond = (
        [
            SURFACE.footprint(scene).buffer(way * 1e-4).exterior.interpolate(step / 120, normalized=True)
            for step in range(120)
        ]
        for way in (-1, 1)
    )
    assert {has_data(SURFACE, scene, point.x, point.y) for point in within} == {True}
    assert {has_data(SURFACE, scene, point.x, point.y) for point in beyond} == {False}


def test_scenes_reach_the_pole():
    """Beyond 85 degrees footprints go on as the pixels do."""
    start = datetime(2024, 6, 1, tzinfo=UTC)
    found = list(SURFACE.search(box(10, 87, 11, 88), start, start + timedelta(days=2)))
    parts = [SURFACE.footprint(scene).intersection(box(10, 87, 11, 88)).representative_point() for scene in found]
    assert found
    assert {has_data(SURFACE, scene, point.x, point.y) for scene, point in zip(found, parts, strict=True)} == {True}


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_all_scenes_with_data_are_found(data):
    """Scenes that Process knows at a pixel and that have data there are those that a search of its box finds."""
    x, y = data.draw(st.floats(-179.9, 179.9)), data.draw(st.floats(-84, 84))
    start = datetime(2024, 6, 1, tzinfo=UTC)
    end = start + timedelta(days=5)
    tiny = box(x - 1e-6, y - 1e-6, x + 1e-6, y + 1e-6)
    lattice = make_lattice("EPSG:4326", tiny.bounds, 1, 1)
    known = [scene for scene in SURFACE.scenes(lattice, start, end) if has_data(SURFACE, scene, x, y)]
    found = list(SURFACE.search(tiny, start, end))
    edges = [SURFACE.footprint(scene).boundary.distance(Point(x, y)) for scene in SURFACE.scenes(lattice, start, end)]
    assume(min(edges, default=1.0) > TWO_PIXELS)
    assert sorted(scene.id for scene in known) == sorted(scene.id for scene in found)


def test_search_is_newest_first():
    """A search answers by time, then by id, both descending, and each scene once."""
    start = datetime(2024, 6, 1, tzinfo=UTC)
    found = [(scene.time, scene.id) for scene in SURFACE.search(box(9, 46, 17, 49), start, start + timedelta(days=30))]
    assert len(found) > 300
    assert found == sorted(set(found), reverse=True)


def test_search_keeps_both_ends():
    """A scene at the very start or end of a search is found."""
    scene = next(SURFACE.search(WORLD, datetime(2024, 6, 1, tzinfo=UTC), datetime(2024, 6, 2, tzinfo=UTC)))
    assert scene in list(SURFACE.search(WORLD, scene.time, scene.time))


def test_scene_is_found_by_its_id():
    """An id leads to the one scene it names, with the same clouds; other ids to none."""
    start = datetime(2024, 6, 1, tzinfo=UTC)
    scene = next(SURFACE.search(box(15, 46, 16, 47), start, start + timedelta(days=9)))
    assert SURFACE.find(scene.id) == scene
    assert [SURFACE.find(name) for name in ("nothing", "S2A_20241399T000000_X", scene.id + "_0")] == [None] * 3


def test_ids_read_like_product_ids():
    """An id has the seven parts of a Sentinel-2 product id, and tells level, second and track."""
    start = datetime(2024, 6, 1, tzinfo=UTC)
    scene = next(SURFACE.search(box(15, 46, 15.1, 46.1), start, start + timedelta(days=5)))
    assert scene.id == "S2B_MSIL2A_20240603T100120_N0400_R050_T33BGL_20240603T113120"


def test_square_has_one_name_on_both_sides_of_the_antimeridian():
    """A box across 180 degrees knows no scene by two ids, and only those that a search finds."""
    lattice = make_lattice("EPSG:4326", (179.5, -17.0, 181.0, -16.0), 15, 10)
    start = datetime(2024, 6, 1, tzinfo=UTC)
    known = {scene.id for scene in SURFACE.scenes(lattice, start, start + timedelta(days=5))}
    both = shapely.union(box(179.5, -17.0, 180.0, -16.0), box(-180.0, -17.0, -179.0, -16.0))
    found = [scene.id for scene in SURFACE.search(both, start, start + timedelta(days=5))]
    assert len(found) == len(set(found)) > 0
    assert set(found) <= known


def test_earth_and_archives_are_catalogued(tmp_path):
    """Both have what the Catalog asks for."""
    write(tmp_path / "B05.tif", np.ones((2, 2), np.uint16))
    assert isinstance(SURFACE, CataloguedSource)
    assert isinstance(ArchiveSource.open_folder("byoc-x", tmp_path), CataloguedSource)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_archive_has_data_exactly_in_its_footprint(shared_data, data):
    """The footprint of a real scene in UTM holds a point exactly if one of its rasters does."""
    source = ArchiveSource.open_folder("byoc-x", shared_data / SCENE)
    scene = source.find(SCENE)
    footprint = source.footprint(scene)
    west, south, east, north = footprint.buffer(0.02).bounds
    point = Point(data.draw(st.floats(west, east)), data.draw(st.floats(south, north)))
    assume(footprint.boundary.distance(point) > TWO_PIXELS)
    assert has_data(source, scene, point.x, point.y) == footprint.contains(point)


def test_archive_is_searched_newest_first(tmp_path):
    """Dated acquisitions that meet the area are found at noon, newest first; undated ones and others are not."""
    write(tmp_path / "a_2016-01-12" / "B05.tif", np.ones((2, 2), np.uint16))
    write(tmp_path / "b_2016-02-01" / "B05.tif", np.ones((2, 2), np.uint16))
    write(tmp_path / "undated" / "B05.tif", np.ones((2, 2), np.uint16))
    source = ArchiveSource.open_folder("byoc-x", tmp_path)
    start, end = datetime(2016, 1, 1, tzinfo=UTC), datetime(2016, 3, 1, tzinfo=UTC)
    here = box(14.9, 45.0, 15.1, 45.2)
    assert [scene.id for scene in source.search(here, start, end)] == ["b_2016-02-01", "a_2016-01-12"]
    assert list(source.search(box(0, 0, 1, 1), start, end)) == []
    assert source.find("undated") is None
