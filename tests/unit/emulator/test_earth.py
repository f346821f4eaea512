"""The synthetic Earth: the same pixel in every window, and passes as two satellites make them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from shdask.emulator.lattice import make_lattice
from shdask.emulator.process.choices import Choices
from shdask.emulator.render.mosaic import order_scenes, render_samples
from shdask.emulator.world.cover import Cover, spectra_on
from shdask.emulator.world.earth import Earth, EarthSource

EARTH = Earth(7)
SURFACE, TOP = EarthSource(EARTH, surface=True), EarthSource(EARTH, surface=False)
BANDS = ["B02", "B04", "B08", "B12", "SCL", "CLD", "dataMask"]
LAYERS = ["SNW", "AOT", "sunZenithAngles", "sunAzimuthAngles", "viewZenithMean", "viewAzimuthMean"]
WIDTH, HEIGHT = 400, 300
NOTHING = Choices()
SPECTRAL = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]
ALPS = ("EPSG:32633", 20.0, 18_000, 261_500)
WIDE_ALPS = ("EPSG:32633", 150.0, 1_400, 35_500)
WIDE = ("EPSG:3857", 1400.0, -100, 4_200)
SOUTH_OF_GRAZ = ("EPSG:32633", 20.0, 25_000, 255_000)


def lattice_of(grid, window):
    """Pixels of a grid: crs, resolution, indices of left and top edge."""
    crs, resolution, column, row = grid
    x, y, width, height = window
    left, top = (column + x) * resolution, (row - y) * resolution
    return make_lattice(crs, (left, top - height * resolution, left + width * resolution, top), width, height)


def look(  # each test says what matters to it
    grid,
    window=(0, 0, WIDTH, HEIGHT),
    *,
    year=2024,
    month=6,
    start=10,
    end=20,
    order="mostRecent",
    source=SURFACE,
    bands=None,
    choices=NOTHING,
):
    """A mosaic of some days of a month, (band, y, x)."""
    lattice = lattice_of(grid, window)
    first, last = datetime(year, month, start, tzinfo=UTC), datetime(year, month, end, tzinfo=UTC)
    scenes = order_scenes(source.scenes(lattice, first, last), order, 100.0)
    inside = np.ones(lattice.shape, dtype=bool)
    return np.stack(render_samples(lattice, inside, source, [scenes], bands or BANDS, choices))


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
    return GRIDS[request.param], look(GRIDS[request.param], bands=[*BANDS, *LAYERS])


@given(data=st.data())
@settings(max_examples=8, deadline=None)
def test_every_window_shows_the_same_bits(grid_and_whole, data):
    """A pixel of a grid has one value per band, whichever window it is asked in."""
    grid, whole = grid_and_whole
    x, y = data.draw(st.integers(0, WIDTH - 1)), data.draw(st.integers(0, HEIGHT - 1))
    width, height = data.draw(st.integers(1, WIDTH - x)), data.draw(st.integers(1, HEIGHT - y))
    part = look(grid, (x, y, width, height), bands=[*BANDS, *LAYERS])
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


def test_another_crs_shows_the_same_ground():
    """Land cover at the same places, asked in UTM and much finer in Mercator, is alike but at a few edges."""
    utm = lattice_of(SOUTH_OF_GRAZ, (0, 0, 200, 200))
    x, y = np.meshgrid(utm.x_centres(), utm.y_centres())
    east, north = Transformer.from_crs("EPSG:32633", "EPSG:3857", always_xy=True).transform(x, y)
    column0, row0 = int(east.min() // 5) - 1, int(north.max() // 5) + 2
    width, height = int(np.ptp(east) // 5) + 4, int(np.ptp(north) // 5) + 4
    mercator = EARTH.ground(lattice_of(("EPSG:3857", 5.0, column0, row0), (0, 0, width, height))).cover
    columns, rows = np.floor(east / 5).astype(int) - column0, row0 - 1 - np.floor(north / 5).astype(int)
    assert (mercator[rows, columns] == EARTH.ground(utm).cover).mean() > 0.95


@pytest.mark.parametrize(
    ("source", "spectral", "layers"),
    [
        (SURFACE, SPECTRAL, {"AOT": "OPTICAL_DEPTH", "SCL": "DN", "SNW": "PERCENT", "CLD": "PERCENT"}),
        (TOP, [*SPECTRAL, "B10"], {}),
    ],
    ids=["L2A", "L1C"],
)
def test_bands_and_default_units_are_those_of_the_service(source, spectral, layers):
    """The published table of the collection, no more and no less."""
    angles = dict.fromkeys(["sunAzimuthAngles", "sunZenithAngles", "viewAzimuthMean", "viewZenithMean"], "DEGREES")
    defaults = {band: next(iter(info.units)) for band, info in source.bands.items()}
    assert defaults == {**dict.fromkeys(spectral, "REFLECTANCE"), **layers, **angles}


def test_optical_depth_is_a_thousandth_of_dn():
    """AOT as documented, and plausible: between very clean and murky air."""
    assert SURFACE.bands["AOT"].units == {"OPTICAL_DEPTH": 1000.0, "DN": 1.0}
    depth = look(SOUTH_OF_GRAZ, bands=["AOT"])[0] / 1000
    assert 0.02 < depth.min() < depth.max() < 0.7


@pytest.mark.parametrize(("year", "offset"), [(2021, 0.0), (2024, 1000.0)])
def test_values_that_are_not_harmonised_carry_the_offset_of_baseline_4(year, offset):
    """From 2022-01-25 on reflectances are 1000 DN higher, in both levels; classes never are."""
    bands = ["B02", "B12", "SCL"]
    raw = look(SOUTH_OF_GRAZ, year=year, bands=bands, choices=Choices(harmonize_values=False))
    added = raw - look(SOUTH_OF_GRAZ, year=year, bands=bands)
    assert [np.unique(band).tolist() for band in added] == [[offset], [offset], [0.0]]


def test_hills_are_lit_from_where_the_sun_angles_say():
    """Brightness of rock follows the cosine of the incidence that zenith and azimuth of the sun give."""
    ground = EARTH.ground(lattice_of(ALPS, (0, 0, WIDTH, HEIGHT)))
    red, scl, zenith, azimuth = look(ALPS, month=8, bands=["B04", "SCL", "sunZenithAngles", "sunAzimuthAngles"])
    zenith, azimuth = np.radians(zenith), np.radians(azimuth)
    uphill = np.sin(azimuth) * ground.slope_east - np.cos(azimuth) * ground.slope_south
    incidence = np.cos(zenith) - np.sin(zenith) * uphill
    light = incidence / np.sqrt(1 + ground.slope_east**2 + ground.slope_south**2)
    rock = (ground.cover == Cover.ROCK) & (scl == 5)
    assert rock.sum() > 1000
    assert np.corrcoef(light[rock], red[rock])[0, 1] > 0.8


def test_the_sun_stands_lower_in_winter():
    """By twice the tilt of the Earth's axis, 46.8 degrees, from solstice to solstice."""
    summer = look(SOUTH_OF_GRAZ, month=6, start=18, end=24, bands=["sunZenithAngles"])[0]
    winter = look(SOUTH_OF_GRAZ, month=12, start=18, end=24, bands=["sunZenithAngles"])[0]
    np.testing.assert_allclose(winter - summer, 46.8, atol=0.3)


def test_angles_change_smoothly():
    """From pixel to pixel the sun moves by less than a thousandth of a degree, 20 m being 0.0002 degrees."""
    zenith = look(SOUTH_OF_GRAZ, bands=["sunZenithAngles"])[0]
    assert np.abs(np.diff(zenith, axis=0)).max() < 1e-3
    assert np.abs(np.diff(zenith, axis=1)).max() < 1e-3


def test_the_view_opens_from_the_middle_of_the_swath():
    """From 0 to half of the field of view, 10.3 degrees; the satellite stands in the east for half of the swath."""
    bands = ["viewZenithMean", "viewAzimuthMean", "dataMask"]
    zenith, azimuth, mask = look(WIDE, (0, 0, 1500, 100), start=10, end=11, bands=bands)
    seen = mask == 1
    assert zenith[seen].min() < 0.1
    assert 10.2 < zenith[seen].max() <= 10.3
    east, west = azimuth[seen] < 180, azimuth[seen] > 180
    assert 0.3 < east.mean() < 0.7
    np.testing.assert_allclose(azimuth[seen][west].mean() - azimuth[seen][east].mean(), 180, atol=3)


def test_at_the_western_edge_of_a_swath_the_satellite_stands_in_the_east():
    """And at the eastern edge in the west."""
    bands = ["viewZenithMean", "viewAzimuthMean", "dataMask"]
    zenith, azimuth, mask = look(WIDE, (0, 0, 1500, 100), start=10, end=11, bands=bands)
    edge = zenith[:, 1:-1] > 10
    western = edge & (mask[:, :-2] == 0) & (mask[:, 1:-1] == 1)
    eastern = edge & (mask[:, 1:-1] == 1) & (mask[:, 2:] == 0)
    assert (azimuth[:, 1:-1][western] < 180).all()
    assert (azimuth[:, 1:-1][eastern] > 180).all()
    assert western.any()
    assert eastern.any()


def test_scene_classes_agree_with_probabilities():
    """Clouds have a cloud percentage over 6, high ones over 60; snow one of 50, if no cloud hides it."""
    scl, cld, snw = look(WIDE_ALPS, month=10, start=1, end=6, bands=["SCL", "CLD", "SNW"])
    assert cld[np.isin(scl, [8, 9, 10])].min() >= 6
    assert cld[scl == 9].min() >= 60
    assert cld[np.isin(scl, [2, 3, 4, 5, 6, 11])].max() <= 8
    clear = cld == 0
    np.testing.assert_array_equal(snw[clear] >= 50, np.isin(scl[clear], [1, 11]))


def test_scene_classes_use_the_published_legend():
    """A cloudy October in the Alps shows every class: 1 saturated to 11 snow; 0 is what no scene holds."""
    scl = look(WIDE_ALPS, month=10, start=1, end=6, bands=["SCL"])
    assert set(np.unique(scl).astype(int)) == set(range(1, 12))
