"""A cube bought in windows trimmed to the area is, bit for bit, the one bought by whole boxes, for less."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import zarr
from shapely.geometry import mapping

import shdask
from shdask.emulator.launch import EmulatorProcess
from shdask.plan.cube import make_cube_plan
from shdask.plan.group import GroupPlan
from shdask.plan.windows import TileWindows

S2 = {"collection": "sentinel-2-l2a"}
S1 = {"collection": "sentinel-1-grd"}
LAYERS: dict[str, dict[str, Any]] = {
    "nearest": {**S2, "bands": ["B02", "B05", "SCL"]},
    "bilinear": {**S2, "bands": ["B04", "SCL"], "units": "REFLECTANCE", "resampling": "bilinear"},
    "bicubic": {**S2, "bands": ["B04", "SCL", "sunZenithAngles"], "resampling": "bicubic"},
    "clouds": {**S2, "bands": ["B04"], "mosaicking_order": "leastCC", "max_cloud_cover": 0.5},
    "radar": {**S1, "bands": ["VV", "VH"]},
    "decibels": {
        **S1, "bands": ["VV"], "resampling": "bilinear", "encode": {"dtype": "int16", "scale": 0.01, "db": True},
    },
    "heights": {"collection": "dem", "bands": ["DEM"], "resampling": "bicubic"},
    "landsat": {"collection": "landsat-ot-l2", "bands": ["B04", "BQA"], "resampling": "bilinear"},
}  # fmt: skip  # a layer a line
MORE = ("bilinear", "clouds", "decibels", "heights")
"""Further forms of the others."""
TIMED: dict[str, dict[str, Any]] = {
    "near": {**S2, "bands": ["B04", "SCL"], "cadence": "acquisition", "resampling": "bicubic"},
    "acquisition": {**S2, "bands": ["B04"], "cadence": "acquisition", "resampling": "bilinear"},
    "day": {**S2, "bands": ["B11"], "cadence": "day", "max_cloud_cover": 0.9},
    "radar": {**S1, "bands": ["VV"], "cadence": "acquisition", "resampling": "bilinear"},
    "dekad": {**S2, "bands": ["B04"], "cadence": "dekad"},
}
RATES = {"requests_per_minute": 1e6, "pu_per_minute": 1e6}


def ragged(x: float, y: float, radius: float, seed: int) -> shapely.Geometry:
    """A ring whose radius wanders by a third, around (x, y) in metres."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    waves = sum(np.sin(k * angle + rng.uniform(0, 6)) / k for k in range(2, 30))
    length = radius * (1 + 0.15 * waves)
    return shapely.Polygon(np.stack((x + length * np.cos(angle), y + length * np.sin(angle)), axis=1))


def country(left: float, bottom: float, size: float) -> shapely.Geometry:
    """A mainland with a lake, five islands and one smaller than a pixel, inside a square of ``size`` metres."""
    mainland = ragged(left + 0.42 * size, bottom + 0.55 * size, 0.3 * size, 1)
    lake = ragged(left + 0.42 * size, bottom + 0.6 * size, 0.07 * size, 2)
    places = [(0.9, 0.9), (0.85, 0.1), (0.93, 0.4), (0.1, 0.06), (0.55, 0.05)]
    islands = [ragged(left + x * size, bottom + y * size, 0.04 * size, seed) for seed, (x, y) in enumerate(places)]
    speck = shapely.box(
        left + 0.7 * size + 3, bottom + 0.03 * size + 3, left + 0.7 * size + 8, bottom + 0.03 * size + 8
    )
    return shapely.union_all([mainland - lake, *islands, speck])


def make_group(layer: dict[str, Any], **changes: Any) -> GroupPlan:
    """The plan that cuts most."""
    fields: dict[str, Any] = {
        "aoi": mapping(country(460_000, 5_095_000, 13_000)),
        "aoi_crs": "EPSG:32633",
        "crs": "EPSG:32633",
        "resolution": 20,
        "time": ["2024-06-01", "2024-06-10"],
        "layers": {"layer": layer},
        "store": {"chunk_px": 128, "tile_px": 256},
        "service": {"prefer": "pu", **RATES},
    }
    return shdask.make_plan(shdask.CubeSpec(**{**fields, **changes})).only


ALONE = {"prefer": "pu", "requests_per_minute": 1e8, "pu_per_minute": 1e6}
"""At which no two dates are bought together."""
NEAR = {
    "aoi": mapping(country(442_000, 5_100_000, 13_000)),
    "time": ["2024-06-01", "2024-06-07"],
    "service": ALONE,
}
"""Where a swath of Sentinel-2 ends, at 20 m."""
WIDE = {
    "aoi": mapping(country(300_000, 5_000_000, 400_000)),
    "resolution": 800,
    "time": ["2024-06-01", "2024-06-03"],
    "service": ALONE,
}
"""Wider than a swath."""


@dataclass(frozen=True, kw_only=True)
class Bought:
    """A cube and its price."""

    arrays: dict[str, np.ndarray]
    requests: int
    pu: float


def buy(plan: GroupPlan, place: Path, service: EmulatorProcess) -> Bought:
    """Build it, one tile after the other, from a service that has sold nothing yet."""
    service.reset()
    report = shdask.build_cube(make_cube_plan({"": plan}), place, executor=shdask.SerialExecutor())
    report.raise_for_failures()
    arrays = {name: array[...] for name, array in zarr.open_group(place, mode="r").arrays()}
    return Bought(arrays=arrays, requests=len(service.requests()), pu=service.stats()["pu_charged"])


def in_boxes(plan: GroupPlan) -> GroupPlan:
    """The same plan, every tile in one window."""
    return replace(plan, windows=TileWindows())


def assert_equal(one: Bought, other: Bought) -> None:
    """Every array, bit for bit."""
    assert one.arrays.keys() == other.arrays.keys()
    assert one.arrays["data_mask"].any()
    [np.testing.assert_array_equal(one.arrays[name], other.arrays[name], err_msg=name) for name in one.arrays]


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.long] * (name in MORE)) for name in LAYERS])
def test_windows_bring_the_pixels_of_whole_boxes(service: EmulatorProcess, tmp_path: Path, name: str) -> None:
    """Cut as much as may ever pay; both cost what was planned."""
    plan = make_group(LAYERS[name])
    cut, whole = buy(plan, tmp_path / "cut", service), buy(in_boxes(plan), tmp_path / "whole", service)
    assert_equal(cut, whole)
    assert (cut.requests, whole.requests) == (plan.cost.requests, in_boxes(plan).cost.requests)
    assert (cut.pu, whole.pu) == (pytest.approx(plan.cost.pu), pytest.approx(in_boxes(plan).cost.pu))
    assert cut.requests > 2 * whole.requests
    assert cut.pu < 0.8 * whole.pu


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"all_touched": True}, id="touched", marks=pytest.mark.long),
        pytest.param({"crs": "EPSG:4326", "resolution": 0.0002}, id="degrees"),
        pytest.param({"crs": "EPSG:3035", "resolution": 25}, id="laea", marks=pytest.mark.long),
        pytest.param({"store": {"chunk_px": 75, "tile_px": 225, "sharded": False}}, id="objects"),
        pytest.param({"service": {**RATES, "prefer": "requests"}}, id="requests", marks=pytest.mark.long),
    ],
)
def test_windows_bring_the_same_on_any_grid(service: EmulatorProcess, tmp_path: Path, changes: dict[str, Any]) -> None:
    """Touched pixels, other CRSs, other tiles, and windows that are only trimmed."""
    plan = make_group(LAYERS["bilinear"], **changes)
    cut, whole = buy(plan, tmp_path / "cut", service), buy(in_boxes(plan), tmp_path / "whole", service)
    assert_equal(cut, whole)
    assert cut.pu < whole.pu


@pytest.mark.parametrize(
    ("name", "place"),
    [
        pytest.param("near", NEAR, id="20 m"),
        pytest.param("acquisition", WIDE, id="acquisition", marks=pytest.mark.long),
        pytest.param("day", WIDE, id="day", marks=pytest.mark.long),
        pytest.param("dekad", WIDE, id="dekad", marks=pytest.mark.long),
        pytest.param("radar", WIDE, id="radar", marks=pytest.mark.long),
    ],
)
def test_swath_edges_hide_no_pixel(service: EmulatorProcess, tmp_path: Path, name: str, place: dict[str, Any]) -> None:
    """Where the scenes of a step end inside a tile, what is left out is empty in the whole box, too."""
    plan = make_group(TIMED[name], **place)
    cut, whole = buy(plan, tmp_path / "cut", service), buy(in_boxes(plan), tmp_path / "whole", service)
    assert plan.windows.by_tile.keys.size > 0
    assert_equal(cut, whole)
    assert cut.pu == pytest.approx(plan.cost.pu)
    assert cut.pu < whole.pu


def test_dates_that_come_together_share_their_windows(service: EmulatorProcess, tmp_path: Path) -> None:
    """One request a window brings them all."""
    plan = make_group(TIMED["acquisition"], **{**WIDE, "service": {"prefer": "pu", **RATES}})
    cut, whole = buy(plan, tmp_path / "cut", service), buy(in_boxes(plan), tmp_path / "whole", service)
    assert plan.tile_set.bundles == (0, 0)
    assert_equal(cut, whole)
    assert (cut.requests, whole.requests) == (plan.cost.requests, in_boxes(plan).cost.requests)
    assert cut.pu <= plan.cost.pu  # a date that does not reach a window costs nothing there
    assert cut.pu < whole.pu
