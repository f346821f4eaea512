"""The price of every request of a run, as it was projected and as the emulator's answer states it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

import shdask
from shdask.emulator.launch import EmulatorProcess, start_emulator
from shdask.fetch.client import ServiceClient
from shdask.plan.cube import CubePlan, make_cube_plan
from shdask.plan.group import GroupPlan
from shdask.request.collections import find_collection
from shdask.request.digest import request_digest
from shdask.request.options import make_options

S2: dict[str, Any] = {"collection": "sentinel-2-l2a"}
S1: dict[str, Any] = {"collection": "sentinel-1-grd"}
ACQUIRED: dict[str, Any] = {"cadence": "acquisition"}
INDEX = """//VERSION=3
function setup() {
  return {
    input: [{bands: ["B04", "B08", "dataMask"], units: "DN"}],
    output: [{id: "index", bands: 2, sampleType: "FLOAT32"}, {id: "kind", bands: 1, sampleType: "UINT8"}]
  };
}
function evaluatePixel(sample) {
  return {index: [(sample.B08 - sample.B04) / (sample.B08 + sample.B04), sample.dataMask], kind: [1]};
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
ORBITS = """//VERSION=3
function setup() {
  return {input: ["B04", "B08", "dataMask"], output: {bands: 2, sampleType: "UINT16"}, mosaicking: "ORBIT"};
}
function evaluatePixel(samples) { return [samples.length, 1]; }
"""
LAYERS: dict[str, dict[str, Any]] = {
    "one-band": {**S2, "bands": ["B04"]},
    "twelve-bands":
        {**S2, "bands": ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]},
    "reflectance": {**S2, "bands": ["B02", "B04"], "units": "REFLECTANCE"},
    "floats": {**S2, "bands": ["sunZenithAngles", "viewZenithMean"]},
    "parts":
        {**S2, "bands": ["B02", "SCL", "CLD", "sunZenithAngles"], "resampling": "bilinear", "units": "REFLECTANCE"},
    "bytes": {**S2, "bands": ["B02", "B03"], "encode": {"dtype": "uint8", "scale": 40}},
    "outputs": {**S2, "evalscript": INDEX, "input_bands": ["B04", "B08"],
        "outputs": {"index": {"bands": ["ndvi"]}, "kind": {"bands": ["land"], "dtype": "uint8"}}},
    "fusion": {"evalscript": FUSED, "outputs": {"default": {"bands": ["red", "height"]}},
        "sources": {"optical": {**S2, "bands": ["B04"]}, "heights": {"collection": "dem", "bands": ["DEM"]}}},
    "terrain": {**S1, "bands": ["VV", "VH"]},
    "ortho": {**S1, "bands": ["VV"], "preset": "sigma0-ellipsoid"},
    "heights": {"collection": "dem", "bands": ["DEM"]},
    "landsat": {"collection": "landsat-ot-l2", "bands": ["B04", "B10", "BQA"]},
    "dates": {**S2, **ACQUIRED, "bands": ["B04", "SCL"]},
    "radar-dates": {**S1, **ACQUIRED, "bands": ["VV"], "encode": {"scale": 0.01, "db": True}},
    "dekads": {**S2, "cadence": "dekad", "bands": ["B04", "B08"]},
    "medians": {**S2, "cadence": "month", "bands": ["B04", "B11"], "composite": "median"},
}  # fmt: skip  # one case a line
FURTHER = ("twelve-bands", "reflectance", "bytes", "ortho", "landsat", "radar-dates", "dekads")
"""Forms of the others."""


def star(points: int = 7) -> shapely.Geometry:
    """An area of capes and bays of about five kilometres, and an islet."""
    angle = np.linspace(0, 2 * np.pi, 2 * points, endpoint=False)
    reach = np.where(np.arange(2 * points) % 2, 900.0, 2600.0)
    capes = shapely.Polygon(np.stack((5.03e5 + reach * np.cos(angle), 5.103e6 + reach * np.sin(angle)), axis=1))
    return shapely.union(capes, shapely.box(505_500, 5_100_300, 505_560, 5_100_380))


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Of one run: what each request was to cost when it was sent, and what its answer said; by digest of its body."""

    plan: CubePlan
    projected: dict[str, float] = field(default_factory=dict)
    charged: dict[str, float] = field(default_factory=dict)
    """Of pictures."""
    searched: dict[str, float] = field(default_factory=dict)
    """Of pages of the catalogue."""

    def projected_of(self, charged: Mapping[str, float]) -> dict[str, float]:
        """Of the same requests."""
        return {key: self.projected[key] for key in charged}


Buy = Callable[..., Prices]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EmulatorProcess, Path]]:
    """An emulator that writes down every call, and where."""
    folder = tmp_path_factory.mktemp("recorded")
    with start_emulator(record=str(folder)) as service:
        yield service, folder


def digest_of(body: Mapping[str, Any]) -> str:
    return request_digest([body])


def read_charges(folder: Path, service: str) -> dict[str, float]:
    """What each answer of ``service`` says it cost."""
    calls = [json.loads(path.read_text()) for path in sorted(folder.glob(f"*-{service}-200.json"))]
    return {digest_of(_joined(call["request"]["body"])): call["answer"]["pu"] for call in calls}


def _joined(body: dict[str, Any]) -> dict[str, Any]:
    """The body with its script in one piece."""
    return {**body, "evalscript": "\n".join(body["evalscript"])} if "evalscript" in body else body


@pytest.fixture
def buy(recorded: tuple[EmulatorProcess, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Buy:
    """Plans a job of these layers, changes its groups and builds them; ``fields`` add to the job or replace its own."""
    service, folder = recorded
    for name, value in service.environment().items():
        monkeypatch.setenv(name, value)
    for written in folder.iterdir():
        written.unlink()
    projected: dict[str, float] = {}
    send = ServiceClient._buy  # where every request passes with its projected price

    def note(self: Any, path: str, body: Mapping[str, Any], pu: float, *rest: Any, **more: Any) -> Any:
        projected[digest_of(body)] = pu
        return send(self, path, body, pu, *rest, **more)

    monkeypatch.setattr(ServiceClient, "_buy", note)

    def build(
        layers: Mapping[str, Any], *, change: Callable[[GroupPlan], GroupPlan] = lambda group: group, **fields: Any
    ) -> Prices:
        job = {
            "aoi": star(),
            "aoi_crs": "EPSG:32633",
            "crs": "EPSG:32633",
            "resolution": 20,
            "time": ["2024-06-01", "2024-06-30"],
            "store": {"chunk_px": 64, "tile_px": 128},
            "service": {"requests_per_minute": 1e6, "pu_per_minute": 1e5, "prefer": "pu"},
        }
        plan = shdask.make_plan(shdask.CubeSpec(layers=layers, **{**job, **fields}))
        plan = make_cube_plan({path: change(group) for path, group in plan.groups.items()})
        report = shdask.build_cube(plan, tmp_path / "cube", executor=shdask.SerialExecutor())
        assert report.complete, report.failures
        return Prices(
            plan=plan,
            projected=projected,
            charged=read_charges(folder, "process"),
            searched=read_charges(folder, "catalog"),
        )

    return build


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.long] * (name in FURTHER)) for name in LAYERS])
def test_every_request_costs_what_was_projected(buy: Buy, name: str) -> None:
    """In windows cut down to the least price; they are the plan's requests, and their sum is its price."""
    prices = buy({"layer": LAYERS[name]})
    assert_equal(prices)
    assert prices.plan.cost.requests == len(prices.charged)


def assert_equal(prices: Prices) -> None:
    assert prices.charged == pytest.approx(prices.projected_of(prices.charged), rel=1e-6)
    assert prices.searched == pytest.approx(prices.projected_of(prices.searched), rel=1e-6)
    assert prices.plan.cost.pu == pytest.approx(sum(prices.charged.values()), rel=1e-6)


@pytest.mark.parametrize(
    "processing",
    [
        {"backCoeff": "SIGMA0_ELLIPSOID", "orthorectify": False},
        {"speckleFilter": {"type": "LEE", "windowSizeX": 3, "windowSizeY": 3}},
        {"backCoeff": "BETA0", "speckleFilter": {"type": "LEE", "windowSizeX": 3, "windowSizeY": 3}},
    ],
    ids=["as-it-was-seen", "speckle-and-terrain", "speckle-and-ortho"],
)
def test_radar_costs_what_its_processing_does(buy: Buy, processing: dict[str, Any]) -> None:
    """Options that the collection has and jobs have no field for."""
    options = make_options(find_collection("sentinel-1-grd"), processing=processing)

    def process(group: GroupPlan) -> GroupPlan:
        source = replace(group.layer.leading, processing=options.processing, price_factor=options.price_factor)
        return replace(group, layer=replace(group.layer, inputs=(source,)))

    assert_equal(buy({"s1": {**S1, "bands": ["VV"]}}, change=process))


@pytest.mark.parametrize("bands", [["B04"], ["B04", "B08", "SCL"]], ids=["one-band", "parts"])
def test_dates_that_come_together_cost_what_was_projected(buy: Buy, bands: list[str]) -> None:
    """Least prices are shared: slivers of one band at several dates are cheaper than each by itself."""
    few = {"requests_per_minute": 600, "pu_per_minute": 1e5, "prefer": "pu"}
    prices = buy({"s2": {**S2, **ACQUIRED, "bands": bands, "resampling": "bilinear"}}, service=few)
    assert_equal(prices)
    assert prices.plan.cost.requests == len(prices.charged) < prices.plan.tile_count


def test_a_look_and_what_it_lets_through_cost_what_was_projected(buy: Buy) -> None:
    """Of the layer no more than the plan says: what is too cloudy is not bought."""
    prices = buy({"s2": {**S2, **ACQUIRED, "bands": ["B04"], "clear": {"min": 0.3}}})
    assert prices.charged == pytest.approx(prices.projected_of(prices.charged), rel=1e-6)
    assert sum(prices.charged.values()) < prices.plan.cost.pu


def test_only_the_number_of_orbits_is_guessed(buy: Buy) -> None:
    """A script that reads every orbit pays for as many as there are: the rest of the formula holds."""
    script = {"evalscript": ORBITS, "input_bands": ["B04", "B08"], "mosaicking": "ORBIT"}
    prices = buy({"s2": {**S2, **script, "outputs": {"default": {"bands": ["n"], "dtype": "uint16"}}}})
    guess = prices.plan.only.layer.leading.samples
    counts = np.array([prices.charged[key] / prices.projected[key] * guess for key in prices.charged])
    assert guess == 12
    assert (counts >= 1).all()
    np.testing.assert_allclose(counts, counts.round(), rtol=1e-6)
