"""What people do with a cube every day: the same on one that is built and one that is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import shapely
import xarray as xr

import shdask
from shdask import open_cube

Open = Callable[..., xr.Dataset]

JOB = """
[cube]
aoi = "area.geojson"
crs = "EPSG:32633"
resolution = 20
time = ["2024-06-01", "2024-06-20"]

[store]
chunk_px = 64
tile_px = 128

[layers.s2]
collection = "sentinel-2-l2a"
bands = ["B04", "B08", "SCL"]
cadence = "acquisition"
"""


@pytest.fixture(params=["built", "lazy", "engine"])
def open_job(service, request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens a job of eight passes over an area of a few tiles, in one of three ways; words are those of open_cube."""
    (tmp_path / "area.geojson").write_text(shapely.to_geojson(shapely.box(15.0, 46.0, 15.03, 46.02)))
    job = tmp_path / "job.toml"
    job.write_text(JOB)
    if request.param == "built":
        shdask.build_cube(job, tmp_path / "cube.zarr", executor=shdask.SerialExecutor())
        return lambda **words: open_cube(tmp_path / "cube.zarr", **words)
    if request.param == "lazy":
        return lambda **words: open_cube(job, max_pu=50, **words)
    return lambda **words: xr.open_dataset(job, engine="shdask", max_pu=50, **words)


def test_everything_stays_dask(open_job: Open):
    """Until it is computed."""
    cube = open_job()
    assert all(cube[name].chunks is not None for name in cube)
    assert cube["B04"].mean("time").chunks is not None


def test_a_mean_over_time_is_numpys(open_job: Open):
    """Of the valid pixels."""
    red = open_job(masked=True)["B04"]
    expected = np.ma.masked_invalid(red.to_numpy()).mean(axis=0).filled(np.nan)
    np.testing.assert_allclose(red.mean("time").compute(), expected, rtol=1e-5)


def test_an_index_lies_between_its_bounds(open_job: Open):
    """NDVI of masked bands, NaN where there is no data."""
    cube = open_job(masked=True)
    ndvi = ((cube["B08"] - cube["B04"]) / (cube["B08"] + cube["B04"])).compute()
    assert bool((abs(ndvi.fillna(0)) <= 1).all())
    np.testing.assert_array_equal(np.isnan(cube["B04"]), cube["data_mask"] == 0)


def test_dates_are_picked_by_name(open_job: Open):
    """A day, a span, the nearest."""
    cube = open_job()
    days = cube["time"].dt.strftime("%Y-%m-%d").to_numpy().tolist()
    assert cube.sel(time=days[1]).sizes["time"] == 1
    assert cube.sel(time=slice("2024-06-01", "2024-06-10")).sizes["time"] == sum(day <= "2024-06-10" for day in days)
    assert cube.sel(time="2024-06-05", method="nearest")["time"].dt.year == 2024


def test_dates_are_gathered(open_job: Open):
    """Resample by ten days, group by what is known of passes."""
    cube = open_job(masked=True)
    by_dekad = cube["B04"].resample(time="10D").max().compute()
    by_orbit = cube["B04"].groupby("relative_orbit").max().compute()
    assert by_dekad.sizes["time"] == 2
    assert by_orbit["relative_orbit"].to_numpy().tolist() == sorted(set(cube["relative_orbit"].to_numpy().tolist()))
    assert float(by_dekad.max()) == float(by_orbit.max()) == float(cube["B04"].max())


def test_clear_dates_are_chosen_before_pixels_are_read(open_job: Open):
    """By a coordinate."""
    cube = open_job()
    clear = cube.sel(time=cube["cloud_cover"] < 0.3)
    assert 0 < clear.sizes["time"] < cube.sizes["time"]
    assert clear["B04"].chunks is not None


def test_it_is_reprojected(open_job: Open):
    """By rioxarray, which finds CRS and transform."""
    picture = open_job(masked=True)["B04"].isel(time=0)
    there = picture.rio.reproject("EPSG:4326")
    assert there.rio.crs == "EPSG:4326"
    np.testing.assert_allclose(there.rio.bounds(), (15.0, 46.0, 15.03, 46.02), atol=1e-3)


def test_it_is_plotted(open_job: Open):
    """Without a screen."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    mesh = open_job(masked=True)["B04"].isel(time=0).plot()
    shown = mesh.get_array().size
    plt.close("all")
    assert shown == open_job()["B04"][0].size


def test_it_is_kept_in_memory_and_written(open_job: Open, tmp_path: Path):
    """load, and another Zarr store of the user's own."""
    part = open_job().isel(time=slice(0, 2)).drop_encoding()
    part.to_zarr(tmp_path / "mine.zarr", consolidated=False, zarr_format=3)
    again = xr.open_zarr(tmp_path / "mine.zarr", consolidated=False)
    np.testing.assert_array_equal(again["B04"], part["B04"].load())
