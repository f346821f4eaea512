"""Samples of a cube of several layers, built on the emulator, held against what the lazy cube computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import xarray as xr

import shdask
from shdask.emulator.launch import EmulatorProcess
from shdask.patches.reading.alignment import AllDates, NearestDates
from shdask.patches.reading.presets import find_preset
from shdask.patches.reading.reader import open_reader
from shdask.patches.reading.views import LayerView
from shdask.patches.table import Patch
from shdask.plan.grid import Grid
from tests.unit.patches.rows import make_patches

SPEC: dict[str, Any] = {
    "aoi": shapely.box(500000, 5100000, 501920, 5101920),
    "aoi_crs": "EPSG:32633",
    "crs": "EPSG:32633",
    "resolution": 20,
    "time": ("2024-06-01", "2024-06-06"),
    "store": {"chunk_px": 32, "tile_px": 64},
    "service": {"requests_per_minute": 60000, "pu_per_minute": 60000},
}
LAYERS = {
    "s2": {
        "collection": "sentinel-2-l2a",
        "bands": ["B02", "B03", "B04", "B8A", "B11", "B12", "SCL"],
        "cadence": "acquisition",
        "units": "REFLECTANCE",
    },
    "s1": {"collection": "sentinel-1-grd", "bands": ["VV", "VH"], "cadence": "acquisition"},
    "dem": {"collection": "dem", "bands": ["DEM"]},
}


@pytest.fixture(scope="module")
def store(one_emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six days of Sentinel-2 and Sentinel-1 above heights: 96 x 96 px of 20 m."""
    path = tmp_path_factory.mktemp("samples") / "cube.zarr"
    with pytest.MonkeyPatch.context() as environ:
        [environ.setenv(name, value) for name, value in one_emulator.environment().items()]
        report = shdask.build_cube(shdask.CubeSpec(**SPEC, layers=LAYERS), path, executor=shdask.SerialExecutor())
    report.raise_for_failures()
    return path


@pytest.fixture(scope="module")
def patch() -> Patch:
    """48 px, over the corner of four tiles."""
    grid = Grid(epsg=32633, origin=(0.0, 0.0), resolution=(20.0, 20.0), offset=(25000, 255096), shape=(96, 96))
    return make_patches(grid, [(40, 30)], size_px=48)[0]


def lazily(store: Path, layer: str, patch: Patch) -> xr.Dataset:
    """What open_cube computes of the patch's pixels, NaN where nothing is valid."""
    rows, columns = patch.window.slices
    cube = shdask.open_cube(store, layer=layer, masked=True).isel(y=rows, x=columns)
    return cube.compute(scheduler="sync")


def stacked(cube: xr.Dataset, bands: list[str]) -> np.ndarray:
    """([time,] band, y, x) with 0 for NaN."""
    return np.nan_to_num(np.stack([cube[band].to_numpy() for band in bands], axis=-3))


def test_layers_are_what_the_lazy_cube_computes(store: Path, patch: Patch):
    """Each under keys of its own, bit for bit."""
    sample = open_reader(store).read(patch)
    s2, s1, dem = (lazily(store, layer, patch) for layer in LAYERS)
    np.testing.assert_array_equal(sample["image_s2"], stacked(s2, LAYERS["s2"]["bands"][:-1]))
    np.testing.assert_array_equal(sample["image_s1"], stacked(s1, ["VV", "VH"]))
    np.testing.assert_array_equal(sample["image_dem"], stacked(dem, ["DEM"])[np.newaxis])
    np.testing.assert_array_equal(sample["clear_s2"], np.isin(s2["SCL"], (4, 5, 6, 7, 11)))
    np.testing.assert_array_equal(sample["clear_s1"], sample["valid_s1"])


def test_a_sample_lies_where_the_lazy_cube_has_its_pixels(store: Path, patch: Patch):
    """Its transform leads to the coordinates of the cube."""
    cube = lazily(store, "dem", patch)
    across, _, left, _, down, top = open_reader(store, "dem").read(patch)["transform"]
    np.testing.assert_allclose(left + (np.arange(48) + 0.5) * across, cube["x"])
    np.testing.assert_allclose(top + (np.arange(48) + 0.5) * down, cube["y"])


def test_one_image_of_three_layers_has_the_dates_of_the_first(store: Path, patch: Patch):
    """Radar of the nearest pass, zeros where it is farther than at half of the dates; heights at every date."""
    s2, s1, dem = (lazily(store, layer, patch) for layer in LAYERS)
    off = abs(s1["time"].to_numpy()[np.newaxis] - s2["time"].to_numpy()[:, np.newaxis])
    within = np.sort(off.min(axis=1))[off.shape[0] // 2 - 1]
    near = off.min(axis=1) <= within
    radar_view = LayerView(layer="s1", time=NearestDates(to="s2", within_days=within / np.timedelta64(1, "D")))
    reader = open_reader(store, [LayerView(layer="s2", bands=("red",)), radar_view, "dem"], merge=True)
    sample = reader.read(patch)
    radar = np.where(near[:, None, None, None], stacked(s1, ["VV", "VH"])[off.argmin(axis=1)], 0)
    np.testing.assert_array_equal(sample["image"][:, 1:3], radar)
    np.testing.assert_array_equal(sample["image"][:, 0], np.nan_to_num(s2["B04"]))
    heights = np.nan_to_num(dem["DEM"])
    np.testing.assert_array_equal(sample["image"][:, 3], np.broadcast_to(heights, (near.size, 48, 48)))
    assert sample["present"].tolist() == near.tolist()
    assert 0 < near.sum() < near.size


def test_a_preset_gives_a_model_what_it_was_trained_on(store: Path, patch: Patch):
    """Prithvi's six bands, reflectance x 10,000 less its means by its stds; of its four dates the cube has three."""
    preset = find_preset("prithvi-eo-2.0")
    sample = open_reader(store, preset.view("s2"), layout="CTHW").read(patch)
    cube = lazily(store, "s2", patch)
    scaling = preset.modalities["S2L2A"].scaling
    stored = np.stack([cube[band] for band in ("B02", "B03", "B04", "B8A", "B11", "B12")])
    means, stds = (np.reshape(figures, (6, 1, 1, 1)) for figures in (scaling.means, scaling.stds))
    np.testing.assert_allclose(sample["image"][:, :3], np.nan_to_num((stored * 10_000 - means) / stds), atol=1e-3)
    assert not sample["image"][:, 3].any()
    assert sample["present"].tolist() == [True, True, True, False]


def test_decibels_are_made_of_power(store: Path, patch: Patch):
    """As numpy makes them; no dark pixel is below -50."""
    sample = open_reader(store, LayerView(layer="s1", values="db", time=AllDates(count=2))).read(patch)
    power = stacked(lazily(store, "s1", patch), ["VV", "VH"])[:2]
    valid = np.broadcast_to(sample["valid"][:, np.newaxis], power.shape)
    expected = 10 * np.log10(np.maximum(power, 1e-5))
    np.testing.assert_allclose(sample["image"][valid], expected[valid], atol=1e-4)
