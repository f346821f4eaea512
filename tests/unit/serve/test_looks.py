"""Which bands make a picture, and what their numbers look like."""

from __future__ import annotations

import numpy as np
import pytest

from shdask.errors import PlanError
from shdask.serve.looks import SCL, Look, choose_look, stretch_ends

S2 = ("B02", "B03", "B04", "B08", "SCL")


def look(wanted: object = None, bands: tuple[str, ...] = S2, source: str = "sentinel-2-l2a", **units: str) -> Look:
    classes = [band for band in bands if band in {"SCL", "LC", "origin_day"}]
    return choose_look(wanted, bands=bands, source=source, classes=classes, units=units)


def told(band: str, codes: list[int]) -> list[tuple[str, str]]:
    legend = look(band, (band,)).legend
    assert legend is not None
    return legend(codes)


def paint(chosen: Look, *bands: list[list[float]], metres: float = 10.0) -> np.ndarray:
    """(3, y, x) in 0..1, all of it shown."""
    values = np.array(bands, np.float32)
    return chosen.paint(values, np.ones(values.shape[1:], np.bool_), metres)


@pytest.mark.parametrize(
    ("bands", "source", "name", "chosen"),
    [
        (S2, "sentinel-2-l2a", "true-colour", ("B04", "B03", "B02")),
        (("B02", "B03", "B04", "B05"), "landsat-ot-l2", "true-colour", ("B04", "B03", "B02")),
        (("red", "green", "blue"), "byoc-1", "true-colour", ("red", "green", "blue")),
        (("VV", "VH"), "sentinel-1-grd", "radar, dB", ("VV", "VH")),
        (("HH",), "sentinel-1-grd", "radar, dB", ("HH",)),
        (("DEM",), "dem", "terrain", ("DEM",)),
        (("SCL", "B08"), "sentinel-2-l2a", "B08", ("B08",)),
        (("SCL",), "sentinel-2-l2a", "SCL", ("SCL",)),
    ],
)
def test_without_a_wish_it_is_what_people_know(bands: tuple[str, ...], source: str, name: str, chosen: tuple[str, ...]):
    """True colour, radar or terrain; else one band."""
    found = look(None, bands, source)
    assert (found.name, found.bands) == (name, chosen)


@pytest.mark.parametrize(
    ("wanted", "bands", "source", "chosen"),
    [
        ("false-colour", S2, "sentinel-2-l2a", ("B08", "B04", "B03")),
        ("false-colour", ("B03", "B04", "B8A"), "sentinel-2-l2a", ("B8A", "B04", "B03")),
        ("false-colour", ("B03", "B04", "B05"), "landsat-ot-l1", ("B05", "B04", "B03")),
        ("hillshade", ("DEM",), "dem", ("DEM",)),
        ("B08", S2, "sentinel-2-l2a", ("B08",)),
        (("B08", "B03", "B02"), S2, "sentinel-2-l2a", ("B08", "B03", "B02")),
    ],
)
def test_looks_and_bands_are_chosen_by_name(wanted: object, bands: tuple[str, ...], source: str, chosen: object):
    """In the order red, green, blue."""
    assert look(wanted, bands, source).bands == chosen


@pytest.mark.parametrize(
    ("wanted", "bands", "said"),
    [
        ("radar", S2, "the layer has no bands for 'radar'; it has B02, B03"),
        ("true-colour", ("B04", "B03"), "the layer has no bands for 'true-colour'"),
        ("B12", S2, "there is no 'B12'; give one or three of B02"),
        (("B02", "B03"), S2, "2 bands are no picture; give one or three of .* or one of true-colour"),
    ],
)
def test_bands_that_are_not_there_are_refused(wanted: object, bands: tuple[str, ...], said: str):
    """With those there are, and the looks by name."""
    with pytest.raises(PlanError, match=said):
        look(wanted, bands)


def test_true_colour_keeps_the_relation_of_its_bands():
    """All are stretched alike: what is grey stays grey."""
    ramp = [[float(100 * x) for x in range(101)]]
    red, green, blue = paint(look("true-colour"), ramp, ramp, ramp)
    np.testing.assert_array_equal(red, green)
    np.testing.assert_array_equal(red, blue)
    assert (red[0, 0], red[0, -1]) == (0.0, 1.0)


def test_outliers_do_not_darken_a_picture():
    """A few pixels as bright as clouds leave the rest as it was."""
    ramp = np.linspace(0, 1000, 2000).reshape(1, -1)
    bright = np.where(np.arange(2000) % 500 == 0, 60000, ramp)
    plain, spoilt = (paint(look("B08"), values.tolist())[0] for values in (ramp, bright))
    rest = np.arange(2000) % 500 != 0
    np.testing.assert_allclose(spoilt[0, rest], plain[0, rest], atol=0.03)


def test_radar_is_shown_in_decibels():
    """Ten times as much power is as far from one as a tenth; a layer in dB already is taken as it is."""
    power = paint(look(None, ("VV",), "sentinel-1-grd"), [[0.01, 0.1, 1.0]])
    decibels = paint(look(None, ("VV",), "sentinel-1-grd", VV="dB"), [[-20.0, -10.0, 0.0]])
    np.testing.assert_allclose(power, decibels, atol=1e-6)
    assert power[0, 0, 1] == pytest.approx(0.5)


def test_two_polarizations_make_three_colours():
    """The third is their ratio."""
    colours = paint(look(None, ("VV", "VH"), "sentinel-1-grd"), [[0.1, 0.1]], [[0.1, 0.001]])
    assert colours.shape == (3, 1, 2)
    assert colours[2].tolist() == [[0.0, 1.0]]


def test_slopes_towards_the_north_west_are_light():
    """Where the sun of maps stands; level ground lies between."""
    y, x = np.mgrid[0:5, 0:5] * 10.0
    rising = x + y  # towards the south-east: it faces the north-west
    light = paint(look("hillshade", ("DEM",), "dem"), rising.tolist())[0]
    level = paint(look("hillshade", ("DEM",), "dem"), np.zeros((5, 5)).tolist())[0]
    dark = paint(look("hillshade", ("DEM",), "dem"), (-rising).tolist())[0]
    assert dark.max() < level.min() < light.min()
    assert level[0, 0] == pytest.approx(np.sqrt(0.5))


def test_slopes_are_told_by_their_steepness_on_the_ground():
    """The same heights on finer ground are steeper."""
    y, x = np.mgrid[0:5, 0:5] * 1.0
    near, far = (paint(look("hillshade", ("DEM",), "dem"), (-x - y).tolist(), metres=metres) for metres in (1.0, 30.0))
    assert near.max() < far.min()


def test_one_measurement_tells_what_its_ends_mean():
    """Values at both ends of the stretch have the colours that are said of them."""
    values = [[float(value) for value in range(101)]]
    grey, heights = look("B08"), look("terrain", ("DEM",), "dem")
    assert stretch_ends(np.array(values), np.ones((1, 101), np.bool_)) == (2.0, 98.0)
    assert (paint(grey, values)[:, 0, [0, 2, 98]].T.tolist(), grey.ends) == (
        [[0] * 3, [0] * 3, [1] * 3],
        ("#000000", "#ffffff"),
    )
    assert heights.ends == ("#387646", "#fafafa")


def test_classes_have_their_own_colours():
    """Those of the service's page: 4 is vegetation, 6 water."""
    colours = paint(look("SCL"), [[4, 6, 9]])
    assert (colours[:, 0] * 255).round().T.tolist() == [[0, 160, 0], [0, 0, 255], [255, 255, 255]]
    assert told("SCL", codes=[4, 12]) == [SCL[4], ("12", told("LC", codes=[12])[0][1])]


def test_classes_of_no_known_meaning_differ_too():
    """Each has a colour of its own, which is the same in every picture."""
    colours = paint(look("LC", ("LC",), "byoc-1"), [[*range(40), 1000, 2000]])
    assert len({tuple(colour) for colour in colours[:, 0].T.tolist()}) == 42
    assert told("LC", codes=[1000, 2000])[0] == told("LC", codes=[5, 1000])[1]


def test_days_are_dates_that_grow_lighter():
    """19875 days after 1970 began June 2024."""
    assert told("origin_day", codes=[19875, 19885, 19905]) == [
        ("2024-06-01", "#440154"),
        ("2024-06-11", "#31688e"),
        ("2024-07-01", "#fde725"),
    ]
