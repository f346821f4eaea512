"""Composites by the service and composites of all dates made here: the same pixels, and the price that was foretold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

import shdask
from shdask.emulator.launch import EmulatorProcess
from shdask.plan.clear_bands import ClearBand
from shdask.plan.cube import CubePlan
from shdask.report import BuildReport
from shdask.serve.composite import make_composite

S2: dict[str, Any] = {"collection": "sentinel-2-l2a", "bands": ["B02", "B04", "B08"]}
L8: dict[str, Any] = {"collection": "landsat-ot-l2", "bands": ["B04", "B05"]}
S1: dict[str, Any] = {"collection": "sentinel-1-grd", "bands": ["VV"], "encode": {"scale": 0.01, "db": True}}
MONTH: dict[str, Any] = {"cadence": "month"}
COARSE: dict[str, Any] = {**S2, "units": "REFLECTANCE", "encode": {band: {"scale": 0.02} for band in S2["bands"]}}
"""Steps so coarse that dates often are as far from the middle as others."""
NEAR = {"method": "medoid", "mask": {"band": "SCL", "clear": [4, 5]}}
LAYERS: dict[str, dict[str, Any]] = {
    "median": {**S2, "cadence": "P10D", "composite": "median"},
    "medoid": {**S2, **MONTH, "composite": {"method": "medoid", "origin": True}},
    "greenest": {**S2, **MONTH, "bands": ["B02", "B04"], "composite": {"method": "max-ndvi", "origin": True}},
    "nearest": {**COARSE, **MONTH, "composite": {**NEAR, "origin": True}},
    "unmasked": {**S2, **MONTH, "bands": ["B02"], "composite": {"method": "median", "mask": "none"}},
    "landsat": {**L8, **MONTH, "composite": "median"},
    "radar": {**S1, **MONTH, "composite": "median"},
    "s2-days": {**S2, "bands": [*S2["bands"], "SCL"], "cadence": "day"},
    "nearest-days": {**COARSE, "bands": [*S2["bands"], "SCL"], "cadence": "day"},
    "landsat-days": {**L8, "bands": [*L8["bands"], "BQA"], "cadence": "day"},
    "radar-days": {**S1, "cadence": "day"},
}  # fmt: skip  # a layer a line
MY_MASK = ClearBand(name="SCL", classes=(4, 5))
EDGE = [442_000, 5_100_000, 455_000, 5_113_000]
"""Where a swath of Sentinel-2 ends."""


@pytest.fixture(scope="module")
def service(earth: EmulatorProcess) -> Iterator[EmulatorProcess]:
    """An emulator in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SH_PROFILE", raising=False)
        for name, value in earth.environment().items():
            patch.setenv(name, value)
        yield earth


@dataclass(frozen=True, kw_only=True)
class Built:
    """A cube, and what it was to cost and has cost."""

    plan: CubePlan
    report: BuildReport
    place: Path

    def open(self, layer: str) -> xr.Dataset:
        """In memory, for it is small."""
        return shdask.open_cube(self.place, layer=layer).load()


def build(place: Path, layers: dict[str, Any], **fields: Any) -> Built:
    job = {
        "aoi": [500_000, 5_100_000, 500_800, 5_100_960],
        "aoi_crs": "EPSG:32633",
        "crs": "EPSG:32633",
        "resolution": 20,
        "time": ["2024-06-01", "2024-06-20"],
        "store": {"chunk_px": 48, "tile_px": 48},
        "service": {"requests_per_minute": 1e6, "pu_per_minute": 1e5},
    }
    plan = shdask.make_plan(shdask.CubeSpec(layers=layers, **{**job, **fields}))
    report = shdask.build_cube(plan, place, executor=shdask.SerialExecutor())
    assert report.complete, report.failures
    return Built(plan=plan, report=report, place=place)


@pytest.fixture(scope="module")
def built(service: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Twenty days of June both ways, on one grid of 48 x 40 px."""
    return build(tmp_path_factory.mktemp("both") / "cube", LAYERS)


@pytest.mark.parametrize(
    ("layer", "days", "words"),
    [
        ("median", "s2-days", {"method": "median", "freq": "P10D"}),
        ("medoid", "s2-days", {"method": "medoid", "freq": "month", "origin": True}),
        ("greenest", "s2-days", {"method": "max-ndvi", "freq": "month", "origin": True, "bands": ["B02", "B04"]}),
        ("nearest", "nearest-days", {"method": "medoid", "freq": "month", "mask": MY_MASK, "origin": True}),
        ("unmasked", "s2-days", {"method": "median", "freq": "month", "mask": "none", "bands": ["B02"]}),
        ("landsat", "landsat-days", {"method": "median", "freq": "month"}),
        ("radar", "radar-days", {"method": "median", "freq": "month"}),
    ],
)
def test_both_ways_give_the_same_pixels(built: Built, layer: str, days: str, words: dict[str, Any]) -> None:
    """Bit for bit, integers and what is sent in steps: values, counts of clear dates, days of origin and masks.

    Ties of medoids among them, though floats hold no step of 0.02 exactly.
    """
    theirs = built.open(layer)
    ours = make_composite(built.open(days), **words)
    xr.testing.assert_equal(ours.reset_coords(drop=True), theirs.reset_coords(drop=True))
    assert float(theirs["data_mask"].mean()) > 0
    assert int(theirs["clear_count"].max()) > 1


def test_a_composite_costs_what_was_projected(built: Built) -> None:
    """Every date that is read, whether it was clear or not."""
    assert built.report.pu_spent == pytest.approx(built.plan.cost.pu, rel=1e-6)
    assert built.plan.groups["median"].layer.leading.samples > 2


def test_where_fewer_scenes_reach_a_window_it_costs_less(service: EmulatorProcess, tmp_path: Path) -> None:
    """At a swath's edge: each window for its own dates."""
    layer = {**S2, "bands": ["B04"], "cadence": "month", "composite": "median"}
    edge = build(tmp_path / "cube", {"edge": layer}, aoi=EDGE, resolution=130, store={"chunk_px": 25, "tile_px": 25})
    group = edge.plan.only
    samples = {
        group.window_pu(window, tile.step) / window.pixel_count for tile in group.tiles() for window in tile.windows
    }
    assert edge.report.pu_spent == pytest.approx(group.cost.pu, rel=1e-6)
    assert len(samples) > 1


def test_the_plan_says_what_all_dates_would_cost(built: Built) -> None:
    """As many PU but for the least price of a request; more requests and bytes, which the build of all days has."""
    median, days = built.plan.groups["median"], built.plan.groups["s2-days"]
    assert median.all_dates is not None
    assert median.all_dates.pu == pytest.approx(days.cost.pu)
    assert median.all_dates.nbytes_down > 3 * median.cost.nbytes_down
    assert "all dates, to composite here" in repr(built.plan)
    assert days.all_dates is None
