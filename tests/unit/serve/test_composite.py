"""Composites of opened cubes: numpy's answer, block by block."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from shdask.errors import PlanError
from shdask.plan.clear_bands import ClearBand
from shdask.serve.composite import make_composite

DAYS = np.array(["2024-06-03", "2024-06-11", "2024-06-19", "2024-06-27", "2024-07-05", "2024-07-13"], "M8[ns]")
SHAPE = (6, 23, 37)
CLEAR = (4, 5, 6, 7, 11)
METHODS = ["median", "medoid", "max-ndvi"]


def make_cube(dtype: str = "uint16", **changes: Any) -> xr.Dataset:
    """Six dates of two months; ``changes`` replace arrays."""
    rng = np.random.default_rng(7)
    scale = 1e-4 if dtype == "float32" else 1
    bands = {name: (rng.integers(0, 3000, SHAPE) * scale).astype(dtype) for name in ("B04", "B08")}
    codes = {"SCL": rng.integers(0, 12, SHAPE).astype(np.uint8), "data_mask": rng.random(SHAPE) < 0.8}
    arrays = {name: (("time", "y", "x"), values) for name, values in {**bands, **codes, **changes}.items()}
    coords = {
        "time": DAYS,
        "y": np.arange(23.0)[::-1],
        "x": np.arange(37.0),
        "spatial_ref": 0,
        "platform": ("time", list("ababab")),
    }
    cube = xr.Dataset(arrays, coords=coords, attrs={"source": "sentinel-2-l2a", "title": "here"})
    cube["B04"].attrs["long_name"] = "red"
    return cube.assign(data_mask=cube["data_mask"].astype(np.uint8))


def clear_of(cube: xr.Dataset) -> np.ndarray:
    return (cube["data_mask"].to_numpy() == 1) & np.isin(cube["SCL"].to_numpy(), CLEAR)


def masked(cube: xr.Dataset, name: str, dates: slice) -> np.ma.MaskedArray[Any, Any]:
    return np.ma.masked_array(cube[name].to_numpy()[dates].astype(float), ~clear_of(cube)[dates])


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_median_is_numpys(dtype: str) -> None:
    """Of clear pixels, month by month; integers rounded half up, nothing where nothing is clear."""
    cube = make_cube(dtype)
    made = make_composite(cube, "median", freq="month")
    expected = np.ma.stack([np.ma.median(masked(cube, "B08", dates), axis=0) for dates in (slice(0, 4), slice(4, 6))])
    rounded = np.floor(expected + 0.5) if dtype == "uint16" else expected.astype(np.float32)
    np.testing.assert_array_equal(made["B08"].to_numpy()[~expected.mask], rounded.compressed())
    np.testing.assert_array_equal(made["data_mask"].to_numpy() == 0, expected.mask)
    assert made["B08"].dtype == dtype


def test_a_median_of_one_picture_is_numpys() -> None:
    """Without a span there is no time axis."""
    cube = make_cube()
    made = make_composite(cube, "median")
    expected = np.ma.median(masked(cube, "B04", slice(None)), axis=0)
    assert made["B04"].dims == ("y", "x")
    np.testing.assert_array_equal(made["B04"].to_numpy(), np.floor(expected.filled(0) + 0.5))


def test_a_medoid_is_one_of_the_dates() -> None:
    """That of the least distance to the medians, and its day is told."""
    cube = make_cube()
    made = make_composite(cube, "medoid", origin=True)
    red, nir = masked(cube, "B04", slice(None)), masked(cube, "B08", slice(None))
    off = (red - np.ma.median(red, axis=0)) ** 2 + (nir - np.ma.median(nir, axis=0)) ** 2
    date = off.filled(np.inf).argmin(axis=0)
    found = made["data_mask"].to_numpy() == 1
    picked = np.take_along_axis(cube["B08"].to_numpy(), date[None], axis=0)[0]
    np.testing.assert_array_equal(made["B08"].to_numpy(), np.where(found, picked, 0))
    days = DAYS.astype("M8[D]").astype(int)[date]
    np.testing.assert_array_equal(made["origin_day"].to_numpy(), np.where(found, days, 0))


def test_the_greenest_date_is_taken() -> None:
    """By the bands of the collection; one of them need not be kept."""
    cube = make_cube()
    made = make_composite(cube, "max-ndvi", bands=["B04"])
    red, nir = masked(cube, "B04", slice(None)), masked(cube, "B08", slice(None))
    date = ((nir - red) / (nir + red)).filled(-np.inf).argmax(axis=0)
    picked = np.take_along_axis(cube["B04"].to_numpy(), date[None], axis=0)[0]
    np.testing.assert_array_equal(made["B04"].to_numpy(), np.where(made["data_mask"] == 1, picked, 0))
    assert list(made) == ["B04", "clear_count", "data_mask"]


def test_clear_dates_are_counted() -> None:
    """At every pixel."""
    cube = make_cube()
    made = make_composite(cube, "median")
    np.testing.assert_array_equal(made["clear_count"].to_numpy(), clear_of(cube).sum(axis=0))
    np.testing.assert_array_equal(
        make_composite(cube, "median", mask="none")["clear_count"].to_numpy(), cube["data_mask"].to_numpy().sum(axis=0)
    )


@pytest.mark.parametrize("method", METHODS)
def test_blocks_change_no_pixel(method: Any) -> None:
    """A cube in Dask blocks stays lazy, and gives what one in memory gives."""
    cube = make_cube()
    lazy = make_composite(cube.chunk(time=1, y=16, x=16), method, freq="month", block_nbytes=9000)
    assert all(lazy[name].chunks is not None for name in lazy)
    xr.testing.assert_identical(lazy.compute(), make_composite(cube, method, freq="month"))


def test_a_block_takes_no_more_than_it_may() -> None:
    """One span of dates, and as many pixels as fit; ends of blocks stay ends of blocks."""
    lazy = make_composite(make_cube().chunk(time=1, y=16, x=16), "median", freq="month", block_nbytes=9000)
    # 4 dates of 2 + 2 + 1 + 1 bytes and 32 to work with: 59 px, so 7 a side, in blocks of 16, 7, 16, 16 and 5
    assert lazy["B04"].chunks == ((1, 1), (6, 5, 5, 7), (6, 5, 5, 6, 5, 5, 5))


@pytest.mark.parametrize("method", METHODS)
def test_a_masked_cube_gives_the_same_values(method: Any) -> None:
    """Its classes are floats, and its pixels without data NaN."""
    cube = make_cube()
    valid = cube["data_mask"] == 1
    floats = cube.assign({name: cube[name].astype(np.float32).where(valid) for name in ("B04", "B08", "SCL")})
    made, plain = make_composite(floats, method), make_composite(cube, method)
    exact = plain["B04"].where(plain["data_mask"] == 1)
    np.testing.assert_allclose(made["B04"], exact, atol=0.5)
    np.testing.assert_array_equal(made["clear_count"], plain["clear_count"])


def in_steps(cube: xr.Dataset, scale: float) -> xr.Dataset:
    """Its bands as floats of so much a step, as a cube of reflectance tells it."""
    bands = ("B04", "B08")
    told = [{"name": name, "dtype": "float32", "scale": scale, "offset": 0.0} for name in bands]
    floats = {name: (cube[name] * np.float64(scale)).astype(np.float32) for name in bands}
    return cube.assign(floats).assign_attrs(cube.attrs, spec={"layer": {"bands": told}})


@pytest.mark.parametrize("method", METHODS)
def test_values_in_steps_are_what_their_integers_give(method: Any) -> None:
    """Few values, so that ties are many: of floats they would go to whatever rounding makes the least."""
    rng = np.random.default_rng(3)
    cube = make_cube(**{name: rng.integers(1, 5, SHAPE).astype(np.uint16) for name in ("B04", "B08")})
    plain, made = (make_composite(each, method) for each in (cube, in_steps(cube, 0.0001)))
    valid = plain["data_mask"] == 1
    expected = (plain["B08"] * 0.0001).astype(np.float32).where(valid)
    np.testing.assert_array_equal(made["B08"], expected)


def test_values_that_are_in_no_such_steps_are_left_as_they_are() -> None:
    """Somebody has computed with them since."""
    cube = in_steps(make_cube(), 0.5)
    moved = cube.assign({name: cube[name] + np.float32(0.1) for name in ("B04", "B08")})
    expected = make_composite(moved.drop_attrs(), "median")["B04"]
    np.testing.assert_array_equal(make_composite(moved, "median")["B04"], expected)


@pytest.mark.parametrize("method", METHODS)
def test_pixels_in_no_such_steps_change_no_others(method: Any) -> None:
    """Few values, so that ties are many; nor does it matter which of them are in one block."""
    rng = np.random.default_rng(3)
    cube = in_steps(make_cube(**{name: rng.integers(1, 5, SHAPE).astype(np.uint16) for name in ("B04", "B08")}), 0.0001)
    here = cube["y"] == 3
    moved = cube.assign(B04=cube["B04"].where(~here, cube["B04"] + np.float32(0.00003)))
    made = make_composite(moved, method)
    xr.testing.assert_equal(made.where(~here), make_composite(cube, method).where(~here))
    xr.testing.assert_identical(make_composite(moved.chunk(time=1, y=16, x=16), method).compute(), made)


def test_what_a_composite_tells_is_no_band() -> None:
    """Of one that was bought: counts and days are not what a medoid is nearest to."""
    cube = make_cube()
    counts = {name: xr.zeros_like(cube["B04"]) + cube["B04"] % 7 for name in ("clear_count", "origin_day")}
    xr.testing.assert_identical(make_composite(cube.assign(counts), "medoid"), make_composite(cube, "medoid"))


@pytest.mark.parametrize("name", ["clear_count", "origin_day"])
def test_what_a_composite_tells_anew_is_not_taken_from_the_cube(name: str) -> None:
    """One of the two would else be lost without a word."""
    cube = make_cube()
    with pytest.raises(PlanError, match=name):
        make_composite(cube.assign({name: cube["B04"]}), "median", bands=["B04", name])


def test_a_mask_may_be_a_band_of_ones_own() -> None:
    """By codes that are clear or bits that are bad; it is no band of the picture."""
    cube = make_cube()
    mine = make_composite(cube.rename(SCL="mine"), "median", mask=ClearBand(name="mine", classes=CLEAR))
    xr.testing.assert_identical(mine, make_composite(cube, "median"))
    odd = make_composite(cube.rename(SCL="mine"), "median", mask=ClearBand(name="mine", bad_bits=1))
    counted = (cube["data_mask"] == 1) & (cube["SCL"] % 2 == 0)
    np.testing.assert_array_equal(odd["clear_count"], counted.sum("time"))


def test_grid_attributes_and_span_are_kept() -> None:
    """What is along the dates goes."""
    made = make_composite(make_cube(), "median", freq="month")
    assert made.attrs == {"source": "sentinel-2-l2a", "title": "here", "composite": "median", "composite_span": "month"}
    assert "composite_span" not in make_composite(made, "median").attrs
    assert made["B04"].attrs == {"long_name": "red"}
    assert made["B04"].encoding["grid_mapping"] == "spatial_ref"
    assert made["time"].to_numpy().astype("M8[D]").astype(str).tolist() == ["2024-06-01", "2024-07-01"]
    assert set(made.coords) == {"time", "y", "x", "spatial_ref"}


def test_periods_count_from_the_cubes_first_day() -> None:
    """As the service's do: from that of the job where the cube knows it."""
    cube = make_cube()
    assert make_composite(cube, "median", freq="P20D")["time"].to_numpy()[1] == np.datetime64("2024-06-23")
    known = cube.assign_attrs(time_coverage_start="2024-06-01T00:00:00+00:00")
    assert make_composite(known, "median", freq="P20D")["time"].to_numpy()[1] == np.datetime64("2024-06-21")


def test_dates_may_come_in_any_order() -> None:
    """Ties go to the earliest."""
    cube = make_cube(B04=np.ones(SHAPE, np.uint16), B08=np.ones(SHAPE, np.uint16))
    expected = make_composite(cube, "medoid", origin=True)
    xr.testing.assert_identical(make_composite(cube.isel(time=[3, 1, 5, 0, 2, 4]), "medoid", origin=True), expected)


def test_a_date_bought_again_takes_the_place_of_the_first() -> None:
    """Where it holds data, clear or not; elsewhere the first stays."""
    one = {"B04": [10, 10, 10], "B08": [1, 1, 1], "SCL": [4, 4, 4], "data_mask": [1, 1, 1]}
    two = {"B04": [30, 30, 30], "B08": [1, 1, 1], "SCL": [4, 9, 4], "data_mask": [1, 1, 0]}
    arrays = {name: (("time", "y", "x"), np.array([[one[name]], [two[name]]], np.uint16)) for name in one}
    coords = {"time": [DAYS[0], DAYS[0]], "revision": ("time", [0, 1])}
    made = make_composite(xr.Dataset(arrays, coords=coords), "median")
    assert made["B04"].to_numpy().tolist() == [[30, 0, 10]]
    assert made["clear_count"].to_numpy().tolist() == [[1, 0, 1]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"method": "mean"}, "method 'mean' is not known; write median, medoid, max-ndvi"),
        ({"method": "median", "origin": True}, "a median is of no one date"),
        ({"method": "median", "mask": "CLM"}, "the cube has no band CLM along time, y, x; it has B04, B08, SCL"),
        ({"method": "median", "mask": "clouds"}, "mask 'clouds' is not known"),
        ({"method": "median", "bands": ["B11"]}, "the cube has no band B11"),
        ({"method": "median", "freq": "acquisition"}, "an acquisition is one date"),
        ({"method": "median", "freq": "fortnight"}, "'fortnight' is not understood"),
    ],
)
def test_what_the_cube_does_not_hold_is_refused(words: dict[str, Any], message: str) -> None:
    """With what it holds."""
    with pytest.raises(PlanError, match=message):
        make_composite(make_cube(), **words)


def test_a_cube_that_does_not_tell_its_bands_asks_for_them() -> None:
    """Red first; and one picture has no dates."""
    cube = make_cube().drop_attrs()
    with pytest.raises(PlanError, match='write ndvi = \\("B04", "B08"\\)'):
        make_composite(cube, "max-ndvi")
    assert make_composite(cube, "max-ndvi", ndvi=("B04", "B08")).equals(make_composite(make_cube(), "max-ndvi"))
    with pytest.raises(PlanError, match="has no time axis"):
        make_composite(cube.isel(time=0), "median")
