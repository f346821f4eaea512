"""Users' own scripts on the service: several outputs in a tar, and several collections in one script."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from shdask.fetch.decode import decode_tar, decode_tiff
from shdask.model import TimeInterval
from shdask.request.body import data_json, process_body
from shdask.request.bounds import bounds_json
from shdask.request.collections import find_collection
from shdask.request.declared import NamedOutput, check_declared, read_declared
from shdask.request.evalscript import RequestedBand, make_evalscript
from shdask.request.options import make_options

BBOX = (540000.0, 5100000.0, 541280.0, 5100960.0)
DAY = TimeInterval(start=datetime(2024, 6, 3, tzinfo=UTC), end=datetime(2024, 6, 4, tzinfo=UTC))
PLACE: dict[str, Any] = {"shape": (48, 64), "bounds": BBOX, "epsg": 32633}
RADAR = make_options(find_collection("sentinel-1-grd"), bands=["VV"])
FUSION = """//VERSION=3
function setup() {
  return {
    input: [
      {datasource: "optical", bands: ["B04", "dataMask"], units: "DN"},
      {datasource: "radar", bands: ["VV", "dataMask"]}
    ],
    output: [
      {id: "default", bands: 2, sampleType: "UINT16"},
      {id: "power", bands: 1, sampleType: "FLOAT32"}
    ]
  };
}
function evaluatePixel(samples) {
  const optical = samples.optical[0], radar = samples.radar[0];
  return {default: [optical.B04, optical.dataMask * radar.dataMask], power: [radar.VV]};
}
"""
NAMED = {
    "default": NamedOutput(bands=("red",), sample_type="UINT16"),
    "power": NamedOutput(bands=("vv",), sample_type="FLOAT32"),
}


def _radar(identifier: str | None = None) -> dict[str, Any]:
    return data_json(
        "sentinel-1-grd",
        interval=DAY,
        identifier=identifier,
        data_filter=RADAR.data_filter,
        processing=RADAR.processing,
    )


def _optical(identifier: str | None = None) -> dict[str, Any]:
    return data_json("sentinel-2-l2a", interval=DAY, identifier=identifier)


def _body(data: list[dict[str, Any]], script: str, **more: Any) -> dict[str, Any]:
    bounds = bounds_json(32633, bbox=BBOX)
    return process_body(bounds=bounds, data=data, evalscript=script, width=64, height=48, **more)


@pytest.fixture(scope="module")
def fused(post: Callable[..., Any]) -> Any:
    """The answer for both outputs of a script that reads optical and radar."""
    # by their ids, not by their order
    data = [_radar("radar"), _optical("optical")]
    return post(_body(data, FUSION, outputs=list(NAMED)), accept="application/x-tar")


@pytest.fixture(scope="module")
def pictures(fused: Any) -> Any:
    """The same, decoded."""
    outputs = {"default": (2, "uint16"), "power": (1, "float32")}
    return decode_tar(fused.content, outputs=outputs, **PLACE)


def test_a_script_that_passes_our_check_passes_the_service(fused: Any) -> None:
    """What setup() declares is what comes."""
    check_declared(
        read_declared(FUSION),
        input_bands={"radar": ["VV"], "optical": ["B04"]},
        mosaicking="SIMPLE",
        outputs=NAMED,
    )
    assert fused.status_code == 200


def test_outputs_equal_what_each_collection_gives_alone(post: Callable[..., Any], pictures: Any) -> None:
    """Pixel by pixel, each in its own type."""
    red = make_evalscript([RequestedBand(name="B04", unit="DN")], "UINT16")
    alone = decode_tiff(post(_body([_optical()], red)).content, band_count=2, dtype="uint16", **PLACE)
    power = make_evalscript([RequestedBand(name="VV", unit="LINEAR_POWER")], "FLOAT32")
    radar = decode_tiff(post(_body([_radar()], power)).content, band_count=2, dtype="float32", **PLACE)
    assert alone[1].all()
    assert radar[1].all()
    np.testing.assert_array_equal(pictures["default"][0], alone[0])
    np.testing.assert_array_equal(pictures["power"][0], radar[0])


@pytest.mark.parametrize(("preset", "factor"), [(None, 2.5), ("sigma0-ellipsoid", 2.0)])
def test_presets_cost_what_their_factor_says(post: Callable[..., Any], preset: str | None, factor: float) -> None:
    """Area x one of three bands x the factor, in 16 bit."""
    options = make_options(find_collection("sentinel-1-grd"), preset=preset)
    band = RequestedBand(name="VV", unit="LINEAR_POWER", scale=0.01, offset=-50.0, db=True)
    data = data_json("sentinel-1-grd", interval=DAY, data_filter=options.data_filter, processing=options.processing)
    answer = post(_body([data], make_evalscript([band], "INT16")))
    expected = 64 * 48 / 512**2 / 3 * options.price_factor
    assert options.price_factor == factor
    assert float(answer.headers["x-processingunits-spent"]) == pytest.approx(expected, rel=1e-6)


def _served() -> list[tuple[str, str]]:
    """Collections that can be asked for without a script of the user's, each with bands that the emulator serves."""
    return [
        ("sentinel-1-grd", "VV VH localIncidenceAngle scatteringArea shadowMask"),
        ("dem", "DEM"),
        ("landsat-ot-l1", "B01 B08 B10 BQA SZA"),
        ("landsat-ot-l2", "B01 B07 B10 QA_RADSAT"),
    ]


@pytest.mark.parametrize(("name", "bands"), _served())
def test_every_known_collection_can_be_bought_as_it_stands(post: Callable[..., Any], name: str, bands: str) -> None:
    """Bands in their usual unit, with the defaults: the service refuses nothing."""
    collection = find_collection(name)
    infos = [collection.band(band) for band in bands.split()]
    options = make_options(collection, bands=bands.split())
    data = data_json(
        name,
        interval=DAY if collection.has_time else None,
        data_filter=options.data_filter,
        processing=options.processing,
    )
    script = make_evalscript([RequestedBand(name=info.name, unit=info.units[0]) for info in infos], "FLOAT32")
    answer = post(_body([data], script))
    assert answer.status_code == 200, answer.text
    assert decode_tiff(answer.content, band_count=len(infos) + 1, dtype="float32", **PLACE).shape == (
        len(infos) + 1,
        48,
        64,
    )
