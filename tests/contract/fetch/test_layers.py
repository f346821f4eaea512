"""Layers of several collections bought from the emulator: prices, encodings, users' scripts and fusion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shdask.assemble.write import make_stored_values
from shdask.fetch.client import Spent
from shdask.fetch.process import fetch_tile
from shdask.request.declared import check_declared, read_declared

S2: dict[str, Any] = {"collection": "sentinel-2-l2a"}
S1: dict[str, Any] = {"collection": "sentinel-1-grd"}
DB = {"dtype": "int16", "scale": 0.01, "db": True}
NDVI = """//VERSION=3
function setup() {
  return {
    input: [{bands: ["B04", "B08", "dataMask"], units: "DN"}],
    output: [{id: "index", bands: 2, sampleType: "FLOAT32"}, {id: "kind", bands: 1, sampleType: "UINT8"}]
  };
}
function evaluatePixel(sample) {
  const ndvi = (sample.B08 - sample.B04) / (sample.B08 + sample.B04);
  return {index: [ndvi, sample.dataMask], kind: [ndvi > 0.5 ? 7 : 3]};
}
"""
FUSED = """//VERSION=3
function setup() {
  return {
    input: [{datasource: "optical", bands: ["B04"], units: "DN"}, {datasource: "heights", bands: ["DEM", "dataMask"]}],
    output: {id: "default", bands: 3, sampleType: "FLOAT32"}
  };
}
function evaluatePixel(samples) {
  if (!samples.optical.length || !samples.heights.length) return [0, 0, 0];
  return [samples.optical[0].B04, samples.heights[0].DEM, samples.heights[0].dataMask];
}
"""


@pytest.fixture(autouse=True)
def _zeroed(emulator: Any) -> None:
    emulator.reset()


def buy(plan_of: Any, room: Any, **layer: Any) -> tuple[Any, Any, Spent]:
    """The first tile of one layer: its plan, its pixels, and what they cost."""
    plan, spent = plan_of(room, layers={"layer": layer}), Spent()
    return plan, fetch_tile(plan, plan.tile(0), room.client, spent=spent), spent


@pytest.mark.parametrize(
    "layer",
    [
        {**S2, "bands": ["B02", "SCL", "CLD"], "resampling": "bilinear", "units": "REFLECTANCE"},
        {**S2, "bands": ["SCL"]},
        {**S2, "bands": ["sunZenithAngles", "B02"]},
        {**S2, "bands": ["B02", "B03"], "encode": {"dtype": "uint8", "scale": 40}},
        {**S1, "bands": ["VV", "VH"]},
        {**S1, "bands": ["VV", "shadowMask", "localIncidenceAngle"]},
        {**S1, "bands": ["VV", "VH"], "preset": "sigma0-ellipsoid"},
        {**S1, "bands": ["VV", "VH"], "encode": DB},
        {"collection": "dem", "bands": ["DEM"]},
        {"collection": "dem", "bands": ["DEM"], "encode": {"dtype": "int16", "scale": 0.1}},
        {"collection": "landsat-ot-l2", "bands": ["B04", "B10", "BQA"]},
        {
            **S2,
            "evalscript": NDVI,
            "input_bands": ["B04", "B08"],
            "outputs": {"index": {"bands": ["ndvi"]}, "kind": {"bands": ["land"], "dtype": "uint8"}},
        },
        {
            "evalscript": FUSED,
            "sources": {"optical": {**S2, "bands": ["B04"]}, "heights": {"collection": "dem", "bands": ["DEM"]}},
            "outputs": {"default": {"bands": ["red", "height"]}},
        },
    ],
    ids=[
        *("reflectance", "classes", "angles", "bytes", "radar", "radar-mask", "ellipsoid", "decibels"),
        *("heights", "decimetres", "landsat", "script", "fusion"),
    ],
)
def test_a_layer_costs_what_was_planned(emulator: Any, open_room: Any, plan_of: Any, layer: dict[str, Any]) -> None:
    """The plan's formula, the answers' headers and the service's account: one request a part, and pixels come."""
    plan, data, spent = buy(plan_of, open_room(emulator), **layer)
    assert data.data_mask.any()
    assert spent.requests == len(plan.layer.parts)
    assert spent.pu == pytest.approx(plan.tile_pu(0), rel=1e-6)
    assert spent.pu == pytest.approx(emulator.stats()["pu_charged"], rel=1e-6)


def stored(plan: Any, data: Any, band: int = 0) -> Any:
    return make_stored_values(plan.layer.bands[band], data.values[band], data.data_mask)


def test_decibels_from_the_service_are_those_of_linear_power(emulator: Any, open_room: Any, plan_of: Any) -> None:
    """Numpy's logarithm of the floats, to half a step, for half the price."""
    room = open_room(emulator)
    plan, encoded, cheap = buy(plan_of, room, **S1, bands=["VV"], encode=DB)
    _, linear, dear = buy(plan_of, room, **S1, bands=["VV"])
    both = encoded.data_mask & linear.data_mask
    np.testing.assert_array_equal(encoded.data_mask, linear.data_mask & (linear.values[0] > 0))
    expected = 10 * np.log10(linear.values[0][both].astype(np.float64))
    np.testing.assert_allclose(stored(plan, encoded)[both], expected, atol=0.005 + 1e-5)
    assert cheap.pu == pytest.approx(dear.pu / 2)


def test_heights_in_decimetres_are_the_heights(emulator: Any, open_room: Any, plan_of: Any) -> None:
    """To half a step; the offset comes back."""
    room = open_room(emulator)
    encode = {"dtype": "uint16", "scale": 0.1, "offset": -500}
    plan, encoded, _ = buy(plan_of, room, collection="dem", bands=["DEM"], encode=encode)
    whole, exact, _ = buy(plan_of, room, collection="dem", bands=["DEM"])
    np.testing.assert_allclose(stored(plan, encoded), stored(whole, exact), atol=0.05 + 1e-3)


def test_classes_beside_bilinear_bands_are_the_nearest(emulator: Any, open_room: Any, plan_of: Any) -> None:
    """The same classes as without resampling, the same reflectance as without classes."""
    room = open_room(emulator)
    _, mixed, _ = buy(plan_of, room, **S2, bands=["SCL", "B04"], resampling="bilinear")
    _, classes, _ = buy(plan_of, room, **S2, bands=["SCL"])
    _, smooth, _ = buy(plan_of, room, **S2, bands=["B04"], resampling="bilinear")
    np.testing.assert_array_equal(mixed.values[0], classes.values[0])
    np.testing.assert_array_equal(mixed.values[1], smooth.values[0])
    np.testing.assert_array_equal(mixed.data_mask, classes.data_mask & smooth.data_mask)


def test_a_script_with_two_outputs_is_put_together(emulator: Any, open_room: Any, plan_of: Any) -> None:
    """An index and its class against numpy, under the first output's mask; the job and setup() agree."""
    room = open_room(emulator)
    outputs = {"index": {"bands": ["ndvi"]}, "kind": {"bands": ["land"], "dtype": "uint8"}}
    plan, data, spent = buy(plan_of, room, **S2, evalscript=NDVI, input_bands=["B04", "B08"], outputs=outputs)
    _, bands, _ = buy(plan_of, room, **S2, bands=["B04", "B08"])
    red, infrared = bands.values.astype(np.float64)
    valid = bands.data_mask & (red + infrared > 0)
    ndvi = (infrared - red)[valid] / (infrared + red)[valid]
    np.testing.assert_array_equal(data.data_mask, bands.data_mask)
    np.testing.assert_array_equal(stored(plan, data)[valid], ndvi.astype(np.float32))
    np.testing.assert_array_equal(stored(plan, data, 1)[valid], np.where(ndvi > 0.5, 7, 3))
    assert spent.requests == 1
    declared = read_declared(NDVI)
    assert declared is not None
    (part,) = plan.layer.parts
    check_declared(
        declared,
        input_bands=plan.layer.named_inputs(),
        mosaicking=plan.layer.mosaicking,
        outputs=plan.layer.named_outputs(part),
    )


def test_a_fusion_reads_each_source_as_by_itself(emulator: Any, open_room: Any, plan_of: Any) -> None:
    """Red and heights of one request are those of two."""
    room = open_room(emulator)
    sources = {"optical": {**S2, "bands": ["B04"]}, "heights": {"collection": "dem", "bands": ["DEM"]}}
    plan, fused, _ = buy(
        plan_of, room, evalscript=FUSED, sources=sources, outputs={"default": {"bands": ["red", "height"]}}
    )
    _, red, _ = buy(plan_of, room, **S2, bands=["B04"])
    _, heights, _ = buy(plan_of, room, collection="dem", bands=["DEM"])
    both = fused.data_mask & red.data_mask
    assert both.any()
    np.testing.assert_array_equal(fused.values[0][both], red.values[0][both])
    np.testing.assert_array_equal(fused.values[1][both], heights.values[0][both])
    declared = read_declared(FUSED)
    assert declared is not None
    check_declared(
        declared,
        input_bands=plan.layer.named_inputs(),
        mosaicking="SIMPLE",
        outputs=plan.layer.named_outputs(plan.layer.parts[0]),
    )
