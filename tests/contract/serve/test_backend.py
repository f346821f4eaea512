"""engine="shdask": what xarray opens, and what it is given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import shapely
import xarray as xr

import shdask
from shdask.serve.backend import ShdaskBackend

from .test_everyday import JOB


@pytest.fixture
def job(service, tmp_path: Path) -> Path:
    (tmp_path / "area.geojson").write_text(shapely.to_geojson(shapely.box(15.0, 46.0, 15.03, 46.02)))
    (tmp_path / "job.toml").write_text(JOB)
    return tmp_path / "job.toml"


@pytest.fixture
def store(job: Path, tmp_path: Path) -> Path:
    shdask.build_cube(job, tmp_path / "cube.zarr", executor=shdask.SerialExecutor())
    return tmp_path / "cube.zarr"


@pytest.mark.parametrize("words", [{}, {"chunks": {}}, {"masked": True, "chunks": {}}], ids=str)
def test_blocks_are_tiles_of_one_date(job: Path, count: Callable[[], int], words: dict[str, object]):
    """Whether xarray is asked for chunks or not, and nothing is fetched for it."""
    cube = xr.open_dataset(job, engine="shdask", **words)
    assert cube["B04"].chunks[0] == (1,) * cube.sizes["time"]
    assert {chunk <= 128 for sizes in cube["B04"].chunks[1:] for chunk in sizes} == {True}
    assert count() == 0


def test_a_load_computes(job: Path, count: Callable[[], int]):
    """In place, as for any Dask array."""
    cube = xr.open_dataset(job, engine="shdask").isel(time=[0], y=slice(0, 8), x=slice(0, 8))
    cube.load()
    assert cube["B04"].chunks is None
    assert count() == 1


def test_options_are_those_of_open_cube(job: Path):
    """Time cuts, variables are dropped."""
    cube = xr.open_dataset(job, engine="shdask", time=("2024-06-01", "2024-06-08"), drop_variables=["SCL"])
    assert list(cube.data_vars) == ["B04", "B08", "data_mask"]
    assert str(cube["time"].to_numpy()[-1]) < "2024-06-09"


def test_a_store_opens_too(store: Path, count: Callable[[], int]):
    """As open_cube gives it."""
    before = count()
    xr.testing.assert_equal(xr.open_dataset(store, engine="shdask").compute(), shdask.open_cube(store).compute())
    assert count() == before


def test_a_tree_opens_as_a_tree(job: Path):
    """Of one group at its root."""
    tree = xr.open_datatree(job, engine="shdask")
    assert tree["B04"].chunks is not None


def test_jobs_and_our_stores_are_recognised(job: Path, store: Path, tmp_path: Path):
    """And nothing else is taken from other engines."""
    (tmp_path / "other.toml").write_text("[tool]\nname = 1\n")
    (tmp_path / "broken.toml").write_text("[[")
    xr.Dataset({"a": 1}).to_zarr(tmp_path / "other.zarr", consolidated=False)
    can_open = ShdaskBackend().guess_can_open
    others = [tmp_path / name for name in ("other.toml", "broken.toml", "other.zarr", "nothing.toml", "nothing.zarr")]
    assert [can_open(path) for path in (job, str(job), store)] == [True, True, True]
    assert [can_open(path) for path in (*others, b"bytes", 7)] == [False] * 7


def test_a_job_is_opened_without_naming_the_engine(job: Path):
    """Xarray asks the engines in turn."""
    assert "B04" in xr.open_dataset(job)
