"""Landsat's view of the synthetic Earth: its orbit, its 30 m pixels, temperature and quality bits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from shapely.geometry import box

from shdask.emulator.lattice import make_lattice
from shdask.emulator.process.choices import Choices
from shdask.emulator.render.mosaic import order_scenes, render_samples
from shdask.emulator.world.cover import Cover
from shdask.emulator.world.earth import Earth
from shdask.emulator.world.landsat import LandsatSource
from shdask.emulator.world.thermal import quality_bits, surface_kelvin

EARTH = Earth(7)
TOP, SURFACE = LandsatSource(EARTH, surface=False), LandsatSource(EARTH, surface=True)
START = datetime(2024, 6, 1, tzinfo=UTC)
ALPS = ("EPSG:32633", 10.0, 40_000, 520_000)


def lay(grid, window):
    """The lattice of a window of a grid: crs, resolution, indices of left and top edge."""
    crs, resolution, column, row = grid
    x, y, width, height = window
    left, top = (column + x) * resolution, (row - y) * resolution
    bbox = (left, (row - y - height) * resolution, (column + x + width) * resolution, top)
    return make_lattice(crs, bbox, width, height)


def look(grid=ALPS, window=(0, 0, 300, 200), *, source=SURFACE, bands=("B04", "dataMask"), order="leastCC", **options):
    """A mosaic of June 2024 over a window of a grid, (band, y, x)."""
    lattice = lay(grid, window)
    scenes = order_scenes(source.scenes(lattice, START, START + timedelta(days=30)), order, 100.0)
    inside = np.ones(lattice.shape, bool)
    return np.stack(render_samples(lattice, inside, source, [scenes], list(bands), Choices(**options)))


def test_two_satellites_return_after_eight_days():
    """A track of one square comes back every eight days, by turns of Landsat 8 and 9."""
    scenes = SURFACE.scenes(lay(ALPS, (0, 0, 2, 2)), START, START + timedelta(days=32))
    track = [
        s for s in scenes if (s.flight.relative_orbit, s.column) == (scenes[0].flight.relative_orbit, scenes[0].column)
    ]
    times = sorted(scene.time for scene in track)
    assert np.diff(times).tolist() == [timedelta(days=8)] * 3
    assert {scene.id[:4] for scene in track} == {"LC08", "LC09"}


def test_scenes_come_at_ten_in_the_morning():
    """At mid latitudes the local solar time of a scene is about 10 hours."""
    scenes = SURFACE.scenes(lay(ALPS, (0, 0, 2, 2)), START, START + timedelta(days=16))
    assert np.mean([scene.time.hour + scene.time.minute / 60 + 1 for scene in scenes]) == pytest.approx(10, abs=0.7)


def test_fine_requests_show_the_pixels_of_the_sensor():
    """At 2 m a row of values is made of runs of about 15 pixels, 30 m."""
    row = look(("EPSG:32633", 2.0, 205_000, 2_600_000), (0, 0, 450, 2), bands=("B05",))[0, 0]
    edges = np.flatnonzero(np.diff(row))
    assert np.median(np.diff(edges)) == pytest.approx(15, abs=1)


def test_bilinear_upsampling_is_smooth():
    """With BILINEAR the steps between neighbours are smaller than with NEAREST."""
    grid, window = ("EPSG:32633", 5.0, 82_000, 1_040_000), (0, 0, 200, 100)
    near, smooth = (look(grid, window, bands=("B05",), upsampling=name)[0] for name in ("NEAREST", "BILINEAR"))
    assert np.abs(np.diff(smooth)).max() < 0.5 * np.abs(np.diff(near)).max()


@pytest.mark.parametrize("source", [TOP, SURFACE], ids=["L1", "L2"])
@pytest.mark.parametrize("options", [{}, {"upsampling": "BILINEAR"}], ids=["nearest", "bilinear"])
def test_every_window_shows_the_same_bits(source, options):
    """A pixel of a grid has one value per band, whichever window it is asked in."""
    bands = ("B02", "B05", "B10", "BQA", "dataMask")
    whole = look(source=source, bands=bands, **options)
    part = look(window=(137, 61, 90, 80), source=source, bands=bands, **options)
    np.testing.assert_array_equal(part, whole[:, 61:141, 137:227])


def test_pixels_without_data_are_not_a_number():
    """Bands are NaN and dataMask 0 where no scene holds data."""
    lattice = lay(ALPS, (0, 0, 4, 3))
    planes = render_samples(lattice, np.ones((3, 4), bool), SURFACE, [[]], ["B04", "BQA", "dataMask"], Choices())
    assert np.isnan(planes[0]).all()
    assert np.isnan(planes[1]).all()
    assert (planes[2] == 0).all()


def test_reflectance_has_the_steps_of_the_collection():
    """Surface reflectance is a whole number x 0.0000275 - 0.2."""
    red = look(bands=("B04",))[0].astype(float)
    whole = (red + 0.2) / 0.0000275
    np.testing.assert_allclose(whole, np.round(whole), atol=0.01)


def test_roofs_are_warm_and_waters_are_cool():
    """By cover the median surface temperature is as on a summer morning."""
    grid, window = ("EPSG:32633", 30.0, 17_000, 170_000), (0, 0, 700, 700)
    kelvin, quality = look(grid, window, bands=("B10", "BQA"))
    cover = EARTH.ground(lay(grid, window)).cover
    clear = quality == 21824
    medians = [np.median(kelvin[(cover == kind) & clear]) for kind in (Cover.CONIFER, Cover.MAIZE, Cover.GREY_ROOF)]
    assert medians == sorted(medians)
    assert np.median(kelvin[quality == 21952]) < medians[1]
    assert 275 < medians[0] < medians[2] < 325


def test_winter_is_colder():
    """The air of January is colder than that of July by tens of kelvins."""
    cover, level = np.full((1, 1), int(Cover.PASTURE), np.uint8), np.ones((1, 1), np.float32)
    cold, warm = (
        surface_kelvin(cover, 0 * level, level, day=day, latitude=47.0, sun_up=up)
        for day, up in ((15, 0.3), (196, 0.9))
    )
    assert 20 < (warm - cold)[0, 0] < 45


@pytest.mark.parametrize(
    ("scl", "beside", "value"),
    [
        (4, False, 21824),
        (6, False, 21952),
        (9, True, 22280),
        (3, False, 23888),
        (11, False, 30048),
        (10, False, 54596),
    ],
    ids=["clear land", "clear water", "cloud", "cloud shadow", "snow", "cirrus"],
)
def test_quality_has_the_values_of_the_handbook(scl, beside, value):
    """QA_PIXEL holds the values that the Landsat 8-9 Collection 2 guide lists."""
    bits = quality_bits(np.full((1, 1), scl, np.float32), np.full((1, 1), beside))
    assert bits[0, 0] == value


def test_quality_agrees_with_the_cloud_cover():
    """Scenes of much cloud have many pixels with the cloud bit, clear scenes none."""
    seen = sorted(_cloud_shares(lay(("EPSG:32633", 300.0, 1_200, 17_400), (0, 0, 300, 300))))
    assert seen[0] == (0.0, 0.0)
    assert seen[-1][1] > 0.4


def _cloud_shares(lattice):
    """(cloud cover in percent, share of pixels with the cloud bit) of the scenes of a month with data on a lattice."""
    scenes = SURFACE.scenes(lattice, START, START + timedelta(days=30))
    everywhere = np.ones(lattice.shape, bool)
    images = [(s.cloud_cover, SURFACE.render(s, ["BQA"], lattice, Choices(), everywhere)) for s in scenes]
    return [
        (percent, float(((image.values[0].astype(int) >> 3) & 1)[image.data_mask].mean()))
        for percent, image in images
        if image is not None
    ]


def test_level_one_has_thermal_bands_and_angles_of_its_own():
    """Level 1 has B08 to B11 and angles, Level 2 surface temperature, each with the documented units."""
    assert list(TOP.bands["B10"].units) == ["BRIGHTNESS_TEMPERATURE"]
    assert list(SURFACE.bands["B10"].units) == ["SURFACE_TEMPERATURE"]
    assert set(TOP.bands) - set(SURFACE.bands) == {"B08", "B09", "B11", "VAA", "VZA", "SAA", "SZA"}


def test_scene_is_found_by_its_id():
    """An id leads to the one scene it names; other ids to none."""
    scene = next(SURFACE.search(box(15, 46, 15.1, 46.1), START, START + timedelta(days=16)))
    assert SURFACE.find(scene.id) == scene
    assert [SURFACE.find(name) for name in ("LC08", scene.id.replace("_2024", "_2023", 1))] == [None, None]


def test_ids_name_one_scene_each():
    """No two scenes of a region and month share an id."""
    ids = [scene.id for scene in SURFACE.search(box(5, 40, 25, 60), START, START + timedelta(days=30))]
    assert len(ids) == len(set(ids)) > 300
