"""Cubes along time, built on a real cluster: date by date what the service's own Python client fetches."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from distributed import Client

import shdask
from shdask.emulator.launch import EmulatorProcess, start_emulator

BOX = (421_000, 5_094_000, 427_400, 5_099_120)
"""320 x 256 px of 20 m: 3 x 2 tiles of 128 px, the right ones half as wide."""
OPTICAL = """//VERSION=3
function setup() {
  return {input: [{bands: ["B04", "SCL", "dataMask"], units: "DN"}], output: {bands: 3, sampleType: "UINT16"}};
}
function evaluatePixel(s) { return s.dataMask ? [s.B04, s.SCL, 1] : [0, 0, 0]; }
"""
RADAR = """//VERSION=3
function setup() {
  return {input: ["VV", "dataMask"], output: {bands: 2, sampleType: "FLOAT32"}};
}
function evaluatePixel(s) { return s.dataMask ? [s.VV, 1] : [0, 0]; }
"""


def make_spec(**changes: object) -> shdask.CubeSpec:
    fields = {
        "aoi": BOX,
        "aoi_crs": "EPSG:32633",
        "crs": "EPSG:32633",
        "resolution": 20,
        "time": (date(2024, 6, 1), date(2024, 6, 30)),
        "layers": {
            "s2": {"collection": "sentinel-2-l2a", "bands": ["B04", "SCL"], "cadence": "acquisition"},
            "s1": {"collection": "sentinel-1-grd", "bands": ["VV"], "cadence": "acquisition"},
            "heights": {"collection": "dem", "bands": ["DEM"]},
        },
        "store": {"chunk_px": 64, "tile_px": 128},
    }
    return shdask.CubeSpec(**{**fields, **changes})


@pytest.fixture(scope="module")
def earth() -> Iterator[EmulatorProcess]:
    """An emulator of its own: the service's client knows a URL's collections by one name in a process."""
    with start_emulator() as service:
        yield service


@pytest.fixture(scope="module")
def store(earth: EmulatorProcess, client: Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A month of two satellites and heights."""
    folder = tmp_path_factory.mktemp("time") / "cube"
    with pytest.MonkeyPatch.context() as patch:
        [patch.setenv(name, value) for name, value in earth.environment().items()]
        report = shdask.build_cube(make_spec(), folder, client=client)
    assert report.complete
    return folder


@pytest.fixture(scope="module")
def peer(earth: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The service's own Python client, and its collections at the emulator."""
    with pytest.MonkeyPatch.context() as patch:
        home = str(tmp_path_factory.mktemp("home"))  # importing it writes a file of settings there
        patch.setenv("HOME", home)
        patch.setenv("XDG_CONFIG_HOME", home)
        import sentinelhub as hub

    config = hub.SHConfig(use_defaults=True, sh_client_id="emulator", sh_client_secret="emulator")  # the emulator's
    config.sh_base_url, config.sh_token_url = earth.base_url, earth.token_url
    s2 = hub.DataCollection.SENTINEL2_L2A.define_from("TIME_S2", service_url=earth.base_url)
    s1 = hub.DataCollection.SENTINEL1_IW.define_from("TIME_S1", service_url=earth.base_url)
    return SimpleNamespace(hub=hub, config=config, s2=s2, s1=s1)


def fetch(peer: SimpleNamespace, collection: object, script: str, time: np.datetime64, **options: object) -> np.ndarray:
    """One request for the whole array within the quarter of an hour around ``time``."""
    hub = peer.hub
    at = time.astype("datetime64[s]")
    around = [str(at + np.timedelta64(minutes, "m")) for minutes in (-8, 8)]
    source = hub.SentinelHubRequest.input_data(collection, time_interval=tuple(around), **options)
    request = hub.SentinelHubRequest(
        evalscript=script,
        input_data=[source],
        responses=[hub.SentinelHubRequest.output_response("default", hub.MimeType.TIFF)],
        bbox=hub.BBox(BOX, hub.CRS("32633")),
        size=(320, 256),
        config=peer.config,
    )
    return np.moveaxis(request.get_data()[0], -1, 0)


def test_optical_dates_equal_the_peers(store, peer, monkeypatch) -> None:
    """Every pass of Sentinel-2, to the pixel, and its mask."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    cube = shdask.open_cube(store, layer="s2").load()
    found = cube[["B04", "SCL", "data_mask"]].to_array().transpose("time", "variable", "y", "x").to_numpy()
    expected = np.stack([fetch(peer, peer.s2, OPTICAL, time) for time in cube.time.to_numpy()])
    assert found.shape[0] > 5
    np.testing.assert_array_equal(found, expected)


def test_radar_passes_equal_the_peers(store, peer, monkeypatch) -> None:
    """Every pass of Sentinel-1, orthorectified and corrected for terrain unless one says otherwise."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    cube = shdask.open_cube(store, layer="s1").isel(time=slice(4)).load()
    processing = {"orthorectify": True, "backCoeff": "GAMMA0_TERRAIN", "demInstance": "COPERNICUS_30"}
    options = {"other_args": {"processing": processing}}
    expected = np.stack([fetch(peer, peer.s1, RADAR, time, **options) for time in cube.time.to_numpy()])
    np.testing.assert_array_equal(cube.data_mask, expected[:, 1])
    np.testing.assert_array_equal(cube.VV.fillna(0), expected[:, 0])


def test_layers_lie_on_the_same_pixels(store) -> None:
    """So that they combine without resampling."""
    tree = xr.open_datatree(store, engine="zarr")
    assert [set(tree[name].sizes) >= {"y", "x"} for name in ("s2", "s1", "heights")] == [True] * 3
    xr.testing.assert_equal(tree["s2"].y, tree["heights"].y)
    xr.testing.assert_equal(tree["s1"].x, tree["heights"].x)


def test_a_later_end_buys_only_later_dates(earth, client, point_at, tmp_path) -> None:
    """Ten more days cost their own dates, and the cube is the one that was built at once."""
    service = point_at(earth)
    layers = {"s2": {"collection": "sentinel-2-l2a", "bands": ["B04"], "cadence": "acquisition"}}
    longer = make_spec(layers=layers, time=(date(2024, 6, 1), date(2024, 7, 10)))
    first = shdask.build_cube(make_spec(layers=layers), tmp_path / "grown", client=client)
    second = shdask.build_cube(longer, tmp_path / "grown", client=client)
    charged = service.stats()["pu_charged"]
    whole = shdask.build_cube(longer, tmp_path / "whole", client=client)
    assert second.skipped == first.written
    assert first.pu_spent + second.pu_spent == pytest.approx(whole.pu_spent)
    assert service.stats()["pu_charged"] - charged == pytest.approx(whole.pu_spent, abs=0.1)
    xr.testing.assert_equal(shdask.open_cube(tmp_path / "grown").load(), shdask.open_cube(tmp_path / "whole").load())
