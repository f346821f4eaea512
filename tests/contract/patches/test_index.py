"""The index and statistics of cubes that were really built: what xarray counts, as they fill, grow, are repaired."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import shdask
from shdask.assemble.verify import forget, verify_cube
from shdask.errors import BudgetExceeded, StoreError
from shdask.patches.choosing.index import open_index
from shdask.patches.measuring.statistics import measure_statistics
from tests.unit.patches.rows import make_patches

AREA = (421_000, 5_094_000, 422_920, 5_095_280)
"""96 x 64 px of 20 m: two tiles of 64 px side by side, the right one half as wide."""
MORE = (421_000, 5_094_000, 422_280, 5_095_280)
"""The left one alone."""
OPTICAL = {"collection": "sentinel-2-l2a", "bands": ["B04", "SCL"], "cadence": "acquisition"}


def make_spec(**changes: Any) -> shdask.CubeSpec:
    """A job of two dates of Sentinel-2."""
    fields: dict[str, Any] = {
        "aoi": AREA,
        "aoi_crs": "EPSG:32633",
        "crs": "EPSG:32633",
        "resolution": 20,
        "time": ("2024-06-01", "2024-06-06"),
        "layers": {"s2": OPTICAL},
        "store": {"chunk_px": 32, "tile_px": 64},
        **changes,
    }
    return shdask.CubeSpec(**fields)


def build(store: Path, *, max_pu: float | None = None, **changes: Any) -> None:
    """Its cube, one tile after the other."""
    shdask.build_cube(make_spec(**changes), store, executor=shdask.SerialExecutor(), max_pu=max_pu)


def in_blocks(pixels: xr.DataArray) -> np.ndarray:
    """How many True each block of 32 px has, by xarray."""
    return pixels.coarsen(y=32, x=32, boundary="pad").sum().to_numpy()


def assert_counted(store: Path, layer: str, is_clear: Any) -> None:
    """Every block of every date is what xarray counts in the opened cube."""
    index, cube = open_index(store), shdask.open_cube(store, layer=layer).load()
    valid = (cube["data_mask"] == 1).expand_dims("time") if "time" not in cube.dims else cube["data_mask"] == 1
    found = [index.blocks("", layer, column) for column in range(index.dates("", layer).size)]
    np.testing.assert_array_equal([counts for counts, _ in found], in_blocks(valid))
    np.testing.assert_array_equal([counts for _, counts in found], in_blocks(valid & is_clear(cube)))


def by_classes(cube: xr.Dataset) -> xr.DataArray:
    """Of the scene classification: vegetation, bare, water, unclassified, snow."""
    return cube["SCL"].isin([4, 5, 6, 7, 11])


@pytest.mark.parametrize(
    ("layer", "is_clear"),
    [
        # USGS: no fill, dilated cloud, cirrus, cloud nor shadow
        (
            {"collection": "landsat-ot-l2", "bands": ["B04", "BQA"], "cadence": "acquisition"},
            lambda cube: (cube["BQA"] & 31) == 0,
        ),
        ({"collection": "sentinel-1-grd", "bands": ["VV"], "cadence": "acquisition"}, lambda _cube: True),
        ({"collection": "dem", "bands": ["DEM"]}, lambda _cube: True),
    ],
    ids=["landsat", "radar", "heights"],
)
def test_blocks_are_what_xarray_counts(service, tmp_path, layer, is_clear) -> None:
    """By the band of clouds that the layer has; without one all that is valid is clear."""
    build(tmp_path / "cube", layers={"own": layer}, time=("2024-06-07", "2024-06-08"))
    assert_counted(tmp_path / "cube", "own", is_clear)


@pytest.mark.filterwarnings("ignore::shdask.serve.open.IncompleteCubeWarning")
def test_a_cube_that_fills_is_counted_as_far_as_it_is(service, tmp_path) -> None:
    """Before and after what is left is bought."""
    half = shdask.make_plan(make_spec()).cost.pu / 2
    with pytest.raises(BudgetExceeded):
        build(tmp_path / "cube", max_pu=half)
    assert_counted(tmp_path / "cube", "s2", by_classes)
    build(tmp_path / "cube")
    assert_counted(tmp_path / "cube", "s2", by_classes)


def test_a_cube_that_grows_is_counted_anew_where_it_has(service, tmp_path) -> None:
    """First in time, then in its area."""
    extent = {"extent": AREA, "aoi": MORE}
    build(tmp_path / "cube", time=("2024-06-01", "2024-06-02"), **extent)
    assert_counted(tmp_path / "cube", "s2", by_classes)
    build(tmp_path / "cube", **extent)
    assert_counted(tmp_path / "cube", "s2", by_classes)
    build(tmp_path / "cube", extent=AREA)
    assert_counted(tmp_path / "cube", "s2", by_classes)


def test_a_repaired_cube_is_counted_again(service, tmp_path) -> None:
    """What verify found broken is taken away and bought again, as --repair does."""
    build(tmp_path / "cube")
    (tmp_path / "cube" / "SCL" / "c" / "0" / "0" / "0").write_bytes(b"nonsense")
    with pytest.raises(StoreError, match=r"SCL of .* cannot be read at step 0, rows 0 to 64"):
        open_index(tmp_path / "cube").dates("", "s2")
    forget(tmp_path / "cube", list(verify_cube(tmp_path / "cube").broken))
    build(tmp_path / "cube")
    assert_counted(tmp_path / "cube", "s2", by_classes)


def test_statistics_are_those_of_clear_pixels_in_xarray(service, tmp_path) -> None:
    """Of the whole cube, in patches that overlap."""
    build(tmp_path / "cube")
    corners = [(0, 0), (0, 32), (16, 20), (32, 0), (32, 32)]
    patches = make_patches(shdask.make_plan(make_spec()).groups[""].grid, corners, size_px=64)
    found = measure_statistics(tmp_path / "cube", patches, "s2", clear_only=True).of("B04")
    cube = shdask.open_cube(tmp_path / "cube", masked=True).load()
    red = cube["B04"].where(by_classes(cube)).astype("float64")
    assert found.count == int(red.count())
    assert (found.min, found.max) == (float(red.min()), float(red.max()))
    assert (found.mean, found.std) == pytest.approx((float(red.mean()), float(red.std())), rel=1e-10)
    assert found.percentiles[98.0] == pytest.approx(float(red.quantile(0.98)), rel=1e-10)
