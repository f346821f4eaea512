"""The whole story on a real cluster: the cube holds what the service serves, and nothing is fetched twice."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
import xarray as xr
from distributed import Client

import shdask
from shdask.emulator.launch import EmulatorProcess
from shdask.errors import AuthError, BudgetExceeded, RequestRejected, StoreError
from shdask.inputs import read_area
from shdask.model import TileEvent, TileState
from shdask.report import BuildReport
from tests.cluster.specs import SCENE_BANDS, earth_spec, scene_file, scene_spec


@dataclass(frozen=True, kw_only=True)
class Built:
    """The cube of `earth_spec`, and what was told, asked and charged meanwhile."""

    place: Path
    report: BuildReport
    heard: list[TileEvent]
    asked: list[dict[str, Any]]
    charged: float


@pytest.fixture(scope="module")
def built(earth: EmulatorProcess, client: Client, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """By the cluster."""
    place, heard = tmp_path_factory.mktemp("built") / "cube", []
    earth.reset()
    with pytest.MonkeyPatch.context() as patch:
        [patch.setenv(*variable) for variable in earth.environment().items()]
        report = shdask.build_cube(earth_spec(), place, client=client, on_event=heard.append)
    return Built(place=place, report=report, heard=heard, asked=earth.requests(), charged=earth.stats()["pu_charged"])


@pytest.fixture
def cube(built: Built, tmp_path: Path) -> Path:
    """A copy of the cube, to be built on."""
    return shutil.copytree(built.place, tmp_path / "cube")


def stacked(cube: xr.Dataset, bands: list[str]) -> np.ndarray:
    return np.stack([cube[band].to_numpy() for band in bands])


def test_real_scene_equals_its_files(scene, client, shared_data, point_at, tmp_path) -> None:
    """A cube built on the scene's own grid, in several tiles by two processes, holds every pixel of the files."""
    point_at(scene)
    report = shdask.build_cube(scene_spec(like=scene_file(shared_data)), tmp_path / "cube", client=client)
    cube = shdask.open_cube(tmp_path / "cube")
    files = np.stack([rasterio.open(scene_file(shared_data, band)).read(1) for band in SCENE_BANDS])
    assert (report.tiles, report.written, report.failed) == (4, 4, 0)
    np.testing.assert_array_equal(stacked(cube, SCENE_BANDS), files)
    assert cube.rio.transform() == rasterio.open(scene_file(shared_data)).transform


@pytest.mark.parametrize(
    ("crs", "resampling"),
    [
        ("EPSG:32617", "nearest"),
        pytest.param("EPSG:32617", "bilinear", marks=pytest.mark.long),
        pytest.param("EPSG:3857", "nearest", marks=pytest.mark.long),
        ("EPSG:3857", "bilinear"),
    ],
)
def test_real_scene_in_another_crs_equals_one_big_request(
    scene, client, shared_data, point_at, buy_whole, tmp_path, crs, resampling
) -> None:
    """Tiles in another CRS hold, pixel for pixel, what one request for the whole area brings."""
    point_at(scene)
    layer = {"collection": "sentinel-2-l1c", "bands": SCENE_BANDS, "resampling": resampling}
    bbox = rasterio.open(scene_file(shared_data)).bounds
    spec = scene_spec(aoi=list(bbox), aoi_crs="EPSG:32618", crs=crs, resolution=17)
    spec = spec.model_copy(update={"layers": {"s2": shdask.Layer(**layer)}})
    plan = shdask.make_plan(spec).only
    shdask.build_cube(spec, tmp_path / "cube", client=client)
    cube = shdask.open_cube(tmp_path / "cube")
    whole = buy_whole(plan)
    assert plan.tile_count > 4
    np.testing.assert_array_equal(cube["data_mask"].to_numpy() == 1, whole.data_mask)
    np.testing.assert_array_equal(stacked(cube, SCENE_BANDS), np.where(whole.data_mask, whole.values, 0))


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:3035", "EPSG:4326"])
def test_tiles_equal_one_big_request(earth, client, point_at, buy_whole, tmp_path, crs) -> None:
    """N tiles of the synthetic Earth equal one big request bit for bit, and only touched tiles are asked for."""
    service = point_at(earth)
    spec = earth_spec(crs=crs, resolution=0.0003 if crs == "EPSG:4326" else 20)
    plan = shdask.make_plan(spec).only
    shdask.build_cube(spec, tmp_path / "cube", client=client)
    sent = len(service.requests())
    cube = shdask.open_cube(tmp_path / "cube")
    whole = buy_whole(plan)
    assert sent == plan.tile_count < plan.tile_set.cell_count
    assert whole.data_mask.any()
    np.testing.assert_array_equal(cube["data_mask"].to_numpy() == 1, whole.data_mask)
    np.testing.assert_array_equal(stacked(cube, ["B02", "B08"]), np.where(whole.data_mask, whole.values, 0))


def test_real_border_at_20_m_equals_one_big_request(earth, client, shared_data, point_at, buy_whole, tmp_path) -> None:
    """A part of Slovenia's real border equals one request for all of it in every pixel."""
    point_at(earth)
    border = read_area(shared_data / "slovenia.geojson")
    part = border.geometry.intersection(shapely.box(540_000, 5_110_000, 569_000, 5_139_000))
    spec = earth_spec(aoi=part, aoi_crs=border.crs)
    plan = shdask.make_plan(spec).only
    shdask.build_cube(spec, tmp_path / "cube", client=client)
    cube = shdask.open_cube(tmp_path / "cube")
    whole = buy_whole(plan)
    assert 20 < plan.tile_count < plan.tile_set.cell_count
    np.testing.assert_array_equal(cube["data_mask"].to_numpy() == 1, whole.data_mask)
    np.testing.assert_array_equal(stacked(cube, ["B02", "B08"]), np.where(whole.data_mask, whole.values, 0))


def test_only_sizes_in_pixels_are_sent(built) -> None:
    """Every request names width and height of an integer window, never a resolution."""
    outputs = [body["output"] for body in built.asked]
    assert {frozenset(output) for output in outputs} == {frozenset({"width", "height", "responses"})}


def test_price_is_what_the_service_charged(built) -> None:
    """The projected PU are those of the answers' headers and of the service's own account."""
    assert built.report.pu_spent == pytest.approx(built.report.pu_projected, rel=1e-6)
    assert built.charged == pytest.approx(built.report.pu_projected, rel=1e-6)


def test_second_build_sends_nothing(earth, client, point_at, built, cube) -> None:
    """Building a finished cube again asks the service for no pixel."""
    service = point_at(earth)
    second = shdask.build_cube(earth_spec(), cube, client=client)
    assert (second.skipped, second.requests, second.pu_spent) == (built.report.tiles, 0, 0)
    assert service.requests() == []


def test_missing_shard_is_fetched_again_and_only_it(earth, client, point_at, built, cube) -> None:
    """A tile whose commit mark is gone is fetched again; the others are left alone."""
    service = point_at(earth)
    next(path for path in (cube / "data_mask" / "c").rglob("*") if path.is_file()).unlink()
    second = shdask.build_cube(earth_spec(), cube, client=client)
    assert (second.written, second.skipped, len(service.requests())) == (1, built.report.tiles - 1, 1)
    xr.testing.assert_equal(shdask.open_cube(cube).load(), shdask.open_cube(built.place).load())


def test_tiles_without_data_are_known_and_cost_no_storage(scene, client, shared_data, point_at, tmp_path) -> None:
    """Tiles beyond the scene's edge hold no file, count as empty, and are not asked for again."""
    service = point_at(scene)
    box = rasterio.open(scene_file(shared_data)).bounds
    spec = scene_spec(aoi=[box.left, box.bottom, box.left + 1000, box.top + 30_000], aoi_crs="EPSG:32618",
                      crs="EPSG:32618", resolution=20)  # fmt: skip
    first = shdask.build_cube(spec, tmp_path / "cube", client=client)
    files = [path for path in (tmp_path / "cube" / "B05" / "c").rglob("*") if path.is_file()]
    service.reset()
    second = shdask.build_cube(spec, tmp_path / "cube", client=client)
    assert first.empty > 0
    assert len(files) == first.written
    assert (second.skipped, service.requests()) == (first.tiles, [])


def test_serial_build_gives_the_same_bytes(earth, point_at, built, tmp_path) -> None:
    """One tile after the other in this process writes the same files as a cluster."""
    point_at(earth)
    shdask.build_cube(earth_spec(), tmp_path / "serial", executor=shdask.SerialExecutor())
    shards = sorted(p.relative_to(built.place) for p in built.place.glob("*/c/**/*") if p.is_file())
    assert shards
    assert [(tmp_path / "serial" / p).read_bytes() for p in shards] == [(built.place / p).read_bytes() for p in shards]


def test_events_name_every_tile_once(client, built) -> None:
    """``on_event`` hears of each tile exactly once, with the worker that did it."""
    assert sorted(event.tile for event in built.heard) == [0, *range(3, 9)]
    assert {event.state for event in built.heard} == {TileState.WRITTEN}
    assert all(event.worker in client.nthreads() for event in built.heard)


def test_another_cube_is_refused(earth, client, point_at, built) -> None:
    """A store that holds another cube is refused, with the difference named, and left as it is."""
    point_at(earth)
    with pytest.raises(StoreError, match="resolution"):
        shdask.build_cube(earth_spec(resolution=40), built.place, client=client)


def test_wrong_secret_stops_before_any_request(earth, client, point_at, tmp_path, monkeypatch) -> None:
    """Refused credentials end the build with AuthError, and no pixel is asked for."""
    service = point_at(earth)
    monkeypatch.setenv("SH_CLIENT_SECRET", "wrong")
    with pytest.raises(AuthError, match="credentials were refused"):
        shdask.build_cube(earth_spec(), tmp_path / "cube", client=client)
    assert service.requests() == []


def test_budget_is_refused_before_any_request(earth, client, point_at, tmp_path) -> None:
    """A cap below the projected price sends nothing."""
    service = point_at(earth)
    with pytest.raises(BudgetExceeded, match="nothing was sent"):
        shdask.build_cube(earth_spec(), tmp_path / "cube", client=client, max_pu=0.1)
    assert service.requests() == []


def test_rejected_request_stops_the_build(scene, client, point_at, tmp_path) -> None:
    """A request that can never succeed ends the build at once instead of failing tile by tile."""
    service = point_at(scene)
    spec = earth_spec(layers={"s2": {"collection": "sentinel-2-l1c", "bands": ["B02"]}}, resolution=10)
    with pytest.raises(RequestRejected, match="B02"):
        shdask.build_cube(spec, tmp_path / "cube", client=client)
    assert len(service.requests()) < shdask.make_plan(spec).only.tile_count
