"""The radar's view of the synthetic Earth: passes, polarizations, speckle, slopes and calibration."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from shapely.geometry import Point, box

from shdask.emulator.lattice import make_lattice
from shdask.emulator.process.choices import Choices
from shdask.emulator.refusal import Refusal
from shdask.emulator.render.mosaic import order_scenes, render_samples
from shdask.emulator.world.backscatter import speckle
from shdask.emulator.world.cover import Cover
from shdask.emulator.world.earth import Earth
from shdask.emulator.world.radar import RadarSource

from .test_footprint import TWO_PIXELS, has_data

EARTH = Earth(7)
RADAR = RadarSource(EARTH)
START = datetime(2024, 6, 1, tzinfo=UTC)
ALPS = ("EPSG:32633", 10.0, 40_000, 520_000)
PLAIN = ("EPSG:32633", 10.0, 50_000, 510_000)
ORTHO = Choices(orthorectify=True)
TERRAIN = Choices(orthorectify=True, back_coeff="GAMMA0_TERRAIN")
WIDTH, HEIGHT = 300, 200


def lay(grid, window=(0, 0, WIDTH, HEIGHT)):
    """The lattice of a window of a grid: crs, resolution, indices of left and top edge."""
    crs, resolution, column, row = grid
    x, y, width, height = window
    left, top = (column + x) * resolution, (row - y) * resolution
    bbox = (left, (row - y - height) * resolution, (column + x + width) * resolution, top)
    return make_lattice(crs, bbox, width, height)


def look(grid, window=(0, 0, WIDTH, HEIGHT), *, bands=("VV", "VH", "dataMask"), choices=ORTHO, **traits):
    """The latest pass of twelve days over a window of a grid, (band, y, x)."""
    lattice = lay(grid, window)
    found = [s for s in RADAR.scenes(lattice, START, START + timedelta(days=12)) if traits.items() <= s.traits.items()]
    scenes = order_scenes(found, "mostRecent", 100.0)
    return np.stack(render_samples(lattice, np.ones(lattice.shape, bool), RADAR, [scenes], list(bands), choices))


@pytest.mark.parametrize(
    "grid",
    [
        ALPS,
        ("EPSG:3857", 15.0, 105_000, 400_000),
        ("EPSG:4326", 0.0002, 74_000, 232_000),
        ("EPSG:32601", 100.0, 1_700, 60_000),
    ],
    ids=["utm", "mercator", "degrees", "antimeridian"],
)
@pytest.mark.parametrize(
    "choices",
    [Choices(), ORTHO, Choices(orthorectify=True, lee_window_px=(5, 3), upsampling="BILINEAR")],
    ids=["plain", "ortho", "filtered"],
)
def test_every_window_shows_the_same_bits(grid, choices):
    """A pixel of a grid has one value per band, whichever window it is asked in."""
    whole = look(grid, choices=choices)
    part = look(grid, (137, 61, 90, 80), choices=choices)
    np.testing.assert_array_equal(part, whole[:, 61:141, 137:227])


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_scene_has_data_exactly_in_its_footprint(data):
    """At any point two pixels off its edge, a scene has data if and only if its footprint holds it."""
    west, south = data.draw(st.floats(-180, 179.5)), data.draw(st.floats(-80, 79))
    found = list(RADAR.search(box(west, south, west + 0.5, south + 0.5), START, START + timedelta(days=6)))
    assume(found)
    scene = data.draw(st.sampled_from(found))
    footprint = RADAR.footprint(scene)
    left, bottom, right, top = footprint.bounds
    point = Point(data.draw(st.floats(left, right)), data.draw(st.floats(bottom, top)))
    assume(footprint.boundary.distance(point) > TWO_PIXELS / np.cos(np.radians(point.y)))
    assert has_data(RADAR, scene, point.x, point.y) == footprint.contains(point)


def test_two_satellites_return_after_six_days_in_both_directions():
    """Over one place each track comes back after six days, and both directions pass."""
    lattice = lay(ALPS, (0, 0, 2, 2))
    scenes = RADAR.scenes(lattice, START, START + timedelta(days=12))
    later = {(scene.flight.relative_orbit, scene.column, scene.row): scene.time for scene in scenes}
    first = {(scene.flight.relative_orbit, scene.column, scene.row): scene.time for scene in reversed(scenes)}
    apart = [abs((later[track] - first[track]).total_seconds()) for track in later]
    assert {scene.traits["orbitDirection"] for scene in scenes} == {"ASCENDING", "DESCENDING"}
    assert len(scenes) == 2 * len(later)
    assert apart == pytest.approx([6 * 86400] * len(later), abs=60)


@pytest.mark.parametrize(("direction", "hour"), [("ASCENDING", 18), ("DESCENDING", 6)])
def test_passes_keep_their_local_hour(direction, hour):
    """At mid latitudes northbound passes come at about 18, southbound ones at about 6 hours local solar time."""
    scenes = RADAR.scenes(lay(ALPS), START, START + timedelta(days=12))
    hours = [(s.time.hour + s.time.minute / 60 + 1) % 24 for s in scenes if s.traits["orbitDirection"] == direction]
    assert np.mean(hours) == pytest.approx(hour, abs=1.0)


@pytest.mark.parametrize(
    ("latitude", "mode", "polarization", "resolution"),
    [(47, "IW", "DV", "HIGH"), (70, "IW", "DH", "HIGH"), (79, "EW", "DH", "MEDIUM"), (-79, "EW", "DH", "MEDIUM")],
)
def test_ice_is_seen_in_hh_and_hv(latitude, mode, polarization, resolution):
    """Towards the poles the polarization is DH, and further the mode EW at medium resolution."""
    scene = next(RADAR.search(box(10, latitude, 10.1, latitude + 0.1), START, START + timedelta(days=12)))
    seen = [scene.traits[name] for name in ("acquisitionMode", "polarization", "resolution")]
    assert seen == [mode, polarization, resolution]


def test_missing_polarization_is_refused_in_the_words_of_the_service():
    """A band that the scene's polarization lacks is RENDERER_S1_MISSING_POLARIZATION."""
    with pytest.raises(Refusal, match="Requested band 'VH' is not present in Sentinel 1 tile 'S1") as refused:
        look(("EPSG:32633", 100.0, 5_000, 80_000), (0, 0, 4, 4), bands=("HH", "VH"))
    assert refused.value.code == "RENDERER_S1_MISSING_POLARIZATION"
    assert refused.value.message.endswith("returned by criteria specified in `dataFilter` parameter.")


def test_water_is_dark_and_roofs_are_bright():
    """By cover the median backscatter is as in nature: water under fields under woods under roofs."""
    lattice = lay(PLAIN, (0, 0, 1200, 1200))
    cover = EARTH.ground(lattice).cover
    vv = look(PLAIN, (0, 0, 1200, 1200), choices=TERRAIN, bands=("VV",))[0]
    medians = [np.median(vv[cover == kind]) for kind in (Cover.RIVER, Cover.PASTURE, Cover.CONIFER, Cover.RED_ROOF)]
    assert medians == sorted(medians)
    assert medians[0] < 0.02


def test_cross_polarization_is_weaker():
    """VH is several times weaker than VV."""
    vv, vh, _ = look(PLAIN)
    assert 3 < np.median(vv) / np.median(vh) < 12


def test_speckle_has_the_looks_of_the_product():
    """Over one cover on level ground the variance over the squared mean is 1 / 4.4 looks, and 1 / 17.6 at 20 m."""
    fine = speckle(range(200), range(200), around=10**6, salt=3, cross=False, looks=4.4, window_px=(1, 1))
    coarse = speckle(range(200), range(200), around=10**6, salt=3, cross=False, looks=17.6, window_px=(1, 1))
    assert fine.var() / fine.mean() ** 2 == pytest.approx(1 / 4.4, rel=0.05)
    assert coarse.var() / coarse.mean() ** 2 == pytest.approx(1 / 17.6, rel=0.05)


def test_speckle_filter_takes_the_mean_of_its_window():
    """A 5 x 3 window is the plain mean of the cells around, as numpy has it."""
    options = {"around": 10**6, "salt": 3, "cross": True, "looks": 4.4}
    plain = speckle(range(9, 22), range(8, 33), window_px=(1, 1), **options)
    filtered = speckle(range(10, 21), range(10, 31), window_px=(5, 3), **options)
    windows = np.lib.stride_tricks.sliding_window_view(plain, (3, 5))
    np.testing.assert_allclose(filtered, windows.mean((2, 3)), rtol=1e-6)


def test_speckle_of_another_pass_is_another():
    """Two passes over the same ground share no speckle."""
    up, down = (look(PLAIN, bands=("VV",), orbitDirection=name)[0] for name in ("ASCENDING", "DESCENDING"))
    level = [image / np.median(image) for image in (up, down)]
    assert np.corrcoef(level[0].ravel(), level[1].ravel())[0, 1] < 0.6


def test_calibrations_differ_by_the_angle():
    """Sigma over beta is the sine, gamma over sigma the secant of the incidence on the ellipsoid, 29 to 46 degrees."""
    beta, sigma, gamma = (
        look(ALPS, choices=Choices(back_coeff=name), bands=("VV",))[0].astype(float)
        for name in ("BETA0", "SIGMA0_ELLIPSOID", "GAMMA0_ELLIPSOID")
    )
    lit = beta > 0
    angle = np.degrees(np.arcsin(sigma[lit] / beta[lit]))
    assert 29 < angle.min() <= angle.max() < 46.1
    np.testing.assert_allclose(gamma[lit] / sigma[lit], 1 / np.cos(np.radians(angle)), rtol=1e-4)


def test_terrain_correction_divides_by_the_scattering_area():
    """Terrain corrected gamma nought is beta nought over scatteringArea where the ground is in sight."""
    beta = look(ALPS, choices=Choices(orthorectify=True, back_coeff="BETA0"), bands=("VV",))[0]
    gamma, area = look(ALPS, choices=TERRAIN, bands=("VV", "scatteringArea"))
    seen = area > 0.06
    np.testing.assert_allclose(gamma[seen], beta[seen] / area[seen], rtol=1e-5)


def test_terrain_correction_takes_the_slopes_out():
    """In the mountains the spread of woods is far smaller with terrain correction."""
    rough, flat = (look(ALPS, choices=choices, bands=("VH",))[0] for choices in (ORTHO, TERRAIN))
    assert flat.std() / flat.mean() < 0.75 * rough.std() / rough.mean()


def test_slopes_towards_the_sensor_are_seen_steeply():
    """The local incidence angle falls where the scattering area grows, and both agree on level ground."""
    angle, area = look(ALPS, choices=TERRAIN, bands=("localIncidenceAngle", "scatteringArea"))
    assert np.corrcoef(angle.ravel(), np.log(area.ravel() + 0.1))[0, 1] < -0.8
    assert (angle >= 0).all()
    assert (angle <= 180).all()


def test_shadow_mask_is_where_little_area_is_in_sight():
    """Every pixel with a scattering area under 0.05 is flagged."""
    mask, area = look(ALPS, choices=TERRAIN, bands=("shadowMask", "scatteringArea"))
    assert set(np.unique(mask)) <= {0.0, 1.0}
    assert (mask[area < 0.05] == 1).all()


def test_heights_move_the_image_unless_it_is_orthorectified():
    """In the mountains two directions show rivers in one place orthorectified, in two without."""
    ortho, plain = (_agreement(Choices(orthorectify=on, lee_window_px=(5, 5))) for on in (True, False))
    assert ortho > 4 * plain


def _agreement(choices):
    """Of the pixels that are dark as rivers from one direction or the other, the share that are from both."""
    up, down = (
        look(ALPS, (0, 400, 500, 300), choices=choices, bands=("VH",), orbitDirection=name)[0] < 0.006
        for name in ("ASCENDING", "DESCENDING")
    )
    return (up & down).sum() / (up | down).sum()


def test_properties_are_those_of_the_collection():
    """The STAC properties that searches filter by follow the scene's traits."""
    scene = next(RADAR.search(box(15, 46, 15.1, 46.1), START, START + timedelta(days=12)))
    properties = RADAR.properties(scene)
    assert properties["sat:orbit_state"] in {"ascending", "descending"}
    assert [properties[name] for name in ("sar:instrument_mode", "s1:polarization", "s1:resolution")] == [
        "IW",
        "DV",
        "HIGH",
    ]
    assert properties["sar:polarizations"] == ["VV", "VH"]
    assert 1 <= properties["sat:relative_orbit"] <= 175


def test_scene_is_found_by_its_id():
    """An id leads to the one scene it names."""
    scene = next(RADAR.search(box(15, 46, 15.1, 46.1), START, START + timedelta(days=12)))
    assert RADAR.find(scene.id) == scene
    assert RADAR.find(scene.id + "0") is None
