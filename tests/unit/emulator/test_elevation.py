"""Heights of the synthetic Earth."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from shdask.emulator.lattice import make_lattice
from shdask.emulator.process.choices import Choices
from shdask.emulator.world.cover import Cover
from shdask.emulator.world.earth import Earth
from shdask.emulator.world.elevation import ElevationSource

EARTH = Earth(7)
HEIGHTS = ElevationSource(EARTH, default="MAPZEN")
ALPS = make_lattice("EPSG:32633", (400_000, 5_190_000, 404_000, 5_194_000), 200, 200)
COAST = make_lattice("EPSG:4326", (-10.0, 40.0, 10.0, 50.0), 200, 100)
WHENEVER = datetime(1990, 1, 1, tzinfo=UTC)


def look(lattice, **options):
    """Heights on a lattice, (y, x)."""
    (scene,) = HEIGHTS.scenes(lattice, WHENEVER, WHENEVER)
    pixels = HEIGHTS.render(scene, ["DEM"], lattice, Choices(**options), np.ones(lattice.shape, bool))
    assert pixels.data_mask.all()
    return pixels.values[0]


def find_sea(lattice):
    """Where the sea is."""
    return np.isin(EARTH.ground(lattice).cover, [Cover.SEA, Cover.SHALLOWS])


def test_heights_are_those_that_hills_are_shaded_with():
    """On land the DEM is the height of the ground that the optical collections show."""
    np.testing.assert_allclose(look(ALPS), EARTH.ground(ALPS).height_m, rtol=1e-6)


def test_slopes_of_the_dem_are_the_slopes_of_the_light():
    """The DEM's own differences are the slopes that the hills are lit by."""
    run = np.gradient(look(ALPS).astype(float), 20.0, axis=1)[5:-5, 5:-5]
    assert np.corrcoef(run.ravel(), EARTH.ground(ALPS).slope_east[5:-5, 5:-5].ravel())[0, 1] > 0.95


@pytest.mark.parametrize("model", ["COPERNICUS_30", "COPERNICUS_90"])
def test_the_sea_is_level_in_copernicus(model):
    """Where there is no land the Copernicus models are 0."""
    assert (look(COAST, dem_instance=model)[find_sea(COAST)] == 0).all()


def test_mapzen_shows_the_floor_of_the_sea():
    """MAPZEN goes below 0 at sea, and only there."""
    height, sea = look(COAST, dem_instance="MAPZEN"), find_sea(COAST)
    assert np.median(height[sea]) < -50
    assert height[~sea].min() >= -60


def test_negative_heights_are_clamped_on_demand():
    """Clamping leaves no height below 0 at sea and changes none of the land."""
    clamped, plain = look(COAST, clamp_negative=True), look(COAST)
    np.testing.assert_array_equal(clamped, np.where(find_sea(COAST) & (plain < 0), 0, plain))


def test_ellipsoidal_heights_differ_by_a_smooth_geoid():
    """With egm heights change by less than 110 m, and by almost the same in neighbouring pixels."""
    change = look(ALPS, egm=True) - look(ALPS)
    assert 0 < np.abs(change).max() < 110
    assert np.ptp(change) < 0.2


def test_every_window_shows_the_same_bits():
    """A pixel of a grid has one height, whichever window it is asked in."""
    part = make_lattice("EPSG:32633", (401_000, 5_191_000, 402_500, 5_193_300), 75, 115)
    np.testing.assert_array_equal(look(part, egm=True), look(ALPS, egm=True)[35:150, 50:125])


def test_the_dem_has_one_sample_at_any_time():
    """The same scene stands for every time range."""
    long_ago = HEIGHTS.scenes(ALPS, WHENEVER, WHENEVER)
    assert len(long_ago) == 1
    assert long_ago == HEIGHTS.scenes(COAST, datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))
