"""The synthetic Earth: the same pixel in every window, and passes as two satellites make them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shdask.emulator.choices import Choices
from shdask.emulator.lattice import make_lattice
from shdask.emulator.mosaic import order_scenes, render_samples
from shdask.emulator.world.cover import Cover, spectra_on
from shdask.emulator.world.earth import Earth, EarthSource

EARTH = Earth(7)
SURFACE, TOP = EarthSource(EARTH, surface=True), EarthSource(EARTH, surface=False)
BANDS = ["B02", "B04", "B08", "B12", "SCL", "CLD", "dataMask"]
WIDTH, HEIGHT = 400, 300
SOUTH_OF_GRAZ = ("EPSG:32633", 20.0, 25_000, 255_000)


def look(grid, window=(0, 0, WIDTH, HEIGHT), *, start=10, end=20, order="mostRecent", source=SURFACE, bands=None):
    """A mosaic of days of June 2024, (band, y, x); a grid is crs, resolution, indices of left and top edge."""
    crs, resolution, column, row = grid
    x, y, width, height = window
    left, top = (column + x) * resolution, (row - y) * resolution
    bbox = (left, (row - y - height) * resolution, (column + x + width) * resolution, top)
    lattice = make_lattice(crs, bbox, width, height)
    first, last = datetime(2024, 6, start, tzinfo=UTC), datetime(2024, 6, end, tzinfo=UTC)
    scenes = order_scenes(source.scenes(lattice, first, last), order, 100.0)
    inside = np.ones(lattice.shape, dtype=bool)
    return np.stack(render_samples(lattice, inside, source, [scenes], bands or BANDS, Choices()))


GRIDS = {
    "utm": SOUTH_OF_GRAZ,
    "mercator": ("EPSG:3857", 37.5, 43_950, 154_480),
    "degrees": ("EPSG:4326", 0.0001, 148_123, 462_000),
    "arc seconds": ("EPSG:4326", 1 / 3600, 53_280, 166_320),
    "laea": ("EPSG:3035", 60.0, 76_667, 43_334),
    "antimeridian": ("EPSG:32601", 100.0, 1_700, 60_000),
    "polar": ("EPSG:3413", 250.0, -4_000, -4_000),
}


@pytest.fixture(scope="module", params=GRIDS)
def grid_and_whole(request):
    """A grid and its whole image."""
    return GRIDS[request.param], look(GRIDS[request.param])


@given(data=st.data())
@settings(max_examples=8, deadline=None)
def test_every_window_shows_the_same_bits(grid_and_whole, data):
    """A pixel of a grid has one value per band, whichever window it is asked in."""
    grid, whole = grid_and_whole
    x, y = data.draw(st.integers(0, WIDTH - 1)), data.draw(st.integers(0, HEIGHT - 1))
    width, height = data.draw(st.integers(1, WIDTH - x)), data.draw(st.integers(1, HEIGHT - y))
    part = look(grid, (x, y, width, height))
    np.testing.assert_array_equal(part, whole[:, y : y + height, x : x + width])


def test_another_earth_has_the_same_bits():
    """The Earth is a function of its seed, not of what was rendered before."""
    window = (100, 100, 50, 50)
    fresh = look(SOUTH_OF_GRAZ, window, source=EarthSource(Earth(7), surface=True))
    np.testing.assert_array_equal(fresh, look(SOUTH_OF_GRAZ, window))


def test_another_seed_is_another_earth():
    """Seeds name different Earths."""
    window = (100, 100, 50, 50)
    other = look(SOUTH_OF_GRAZ, window, source=EarthSource(Earth(8), surface=True))
    assert (other != look(SOUTH_OF_GRAZ, window)).any()


def test_land_has_fields_with_sharp_edges():
    """Neighbouring pixels differ by a fifth in many places, so that half a pixel of shift shows."""
    near_infrared = look(SOUTH_OF_GRAZ, order="leastCC", start=1, end=30)[2]
    steps = np.abs(np.diff(near_infrared, axis=1)) > 0.2 * near_infrared[:, 1:]
    assert steps.mean() > 0.01


def test_place_is_revisited_every_five_days():
    """In any five days there is data everywhere in central Europe."""
    masks = [look(SOUTH_OF_GRAZ, start=day, end=day + 5)[-1] for day in (1, 8, 17)]
    assert np.all(masks)


def test_one_day_leaves_gaps():
    """A single day shows slanted edges of swaths, with nothing beyond them."""
    wide = ("EPSG:3857", 1400.0, -100, 4_200)
    masks = [look(wide, start=day, end=day + 1, bands=["dataMask"])[0].mean() for day in (10, 11, 12)]
    assert 0.0 < sum(masks) < 3.0


def test_no_data_is_zero_in_every_band():
    """Outside of the swaths all bands are 0, inside the optical ones are at least 1."""
    image = look(("EPSG:3857", 1400.0, -100, 4_200), start=10, end=11)
    outside = image[-1] == 0
    assert not image[:, outside].any()
    assert image[:4, ~outside].min() >= 1


def test_values_are_whole_dn():
    """Every value is a whole number that 16 bits hold."""
    image = look(SOUTH_OF_GRAZ)
    np.testing.assert_array_equal(image, np.floor(image))
    assert image.max() <= 16000


def test_air_brightens_the_blue_of_l1c():
    """At the top of the atmosphere the blue band is brighter than at the surface."""
    clear = {"order": "leastCC", "start": 1, "end": 30, "bands": ["B02"]}
    surface, top = look(SOUTH_OF_GRAZ, **clear), look(SOUTH_OF_GRAZ, source=TOP, **clear)
    assert np.median(top - surface) > 300


@pytest.mark.parametrize("cover", [Cover.WHEAT, Cover.BROADLEAF, Cover.MAIZE])
def test_vegetation_has_seasons(cover):
    """The vegetation index of crops and leaves is far higher in their season than in winter."""
    index = [
        (b[7] - b[3]) / (b[7] + b[3])
        for b in (spectra_on(20.0)[cover], spectra_on(150.0)[cover], spectra_on(200.0)[cover])
    ]
    assert max(index) > index[0] + 0.25
