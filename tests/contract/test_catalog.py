"""Acquisitions from the emulated Catalog, and time axes that are the catalogue's own: every scene, no neighbour."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import requests
import shapely
from pyproj import Transformer
from rasterio.transform import from_origin

from shdask.emulator.launch import EmulatorProcess, start_emulator
from shdask.errors import RequestRejected
from shdask.fetch.auth import ClientCredentials
from shdask.fetch.catalog import fetch_acquisitions
from shdask.fetch.client import ServiceClient, Spent
from shdask.fetch.limiter import LimiterState, LocalRateGate
from shdask.fetch.retry import RetryPolicy
from shdask.fetch.transport import RequestsTransport
from shdask.model import TimeInterval
from shdask.plan.acquisition import Acquisition
from shdask.plan.cost import price_search
from shdask.plan.grid import Grid, snap_grid
from shdask.plan.reach import find_reach
from shdask.plan.timeline import Step, make_timeline
from shdask.request.body import time_range_json
from shdask.request.catalog import search_body
from shdask.settings import Credentials, Deployment
from tests.unit.plan.scenes import span

LEGACY, NEW = "/api/v1/catalog/1.0.0", "/catalog/v1"
S2, S1, LANDSAT = "sentinel-2-l2a", "sentinel-1-grd", "landsat-ot-l2"
VALLEY, REGION = shapely.box(14.0, 46.0, 14.3, 46.2), shapely.box(13.4, 45.4, 16.6, 46.9)
SPRING, YEAR = span("2024-03-20", "2024-06-10"), span("2023-01-01", "2024-01-01")
RADAR = {"acquisitionMode": "IW", "polarization": "DV", "resolution": "HIGH"}
NAME = re.compile(r"(?P<satellite>S1.|S2.|LC0.)_")
NAMES = """//VERSION=3
function setup() {
  return {input: [{bands: ["dataMask"]}], output: {bands: 1, sampleType: "UINT8"}, mosaicking: "ORBIT"};
}
function evaluatePixel(samples) { return [samples.some((s) => s.dataMask) ? 1 : 0]; }
function updateOutputMetadata(scenes, input, output) {
  output.userData = scenes.orbits.flatMap((orbit) => orbit.tiles).map((tile) => tile.dataPath.split("/").pop());
}
"""
MASK = """//VERSION=3
function setup() { return {input: ["dataMask"], output: {bands: 1, sampleType: "UINT8"}}; }
function evaluatePixel(s) { return [s.dataMask]; }
"""

Fetch = Callable[..., list[Acquisition]]


@pytest.fixture
def service(earth: EmulatorProcess) -> EmulatorProcess:
    """The emulator as new."""
    earth.clear_faults()
    earth.reset()
    return earth


@pytest.fixture
def fetch() -> Iterator[Fetch]:
    """Calls ``fetch_acquisitions`` on an emulator: a valley of Sentinel-2 in spring, with members changed."""
    transport = RequestsTransport(2)

    def run(process: EmulatorProcess, *, catalog_path: str = LEGACY, **members: Any) -> list[Acquisition]:
        where = Deployment(
            name="custom",
            base_url=process.base_url,
            token_url=process.token_url,
            catalog_path=catalog_path,
            requests_per_minute=6e5,
            pu_per_minute=6e5,
        )
        own = Credentials(client_id=process.client_id, client_secret=process.client_secret)
        gate = LocalRateGate(LimiterState.for_deployment(where))
        policy = RetryPolicy(base_wait_s=0.01)
        client = ServiceClient(where, transport, gate, ClientCredentials(transport, where, own), policy)
        return fetch_acquisitions(client, **{"collection": S2, "area": VALLEY, "interval": SPRING, **members})

    yield run
    transport.close()


@pytest.fixture(scope="module")
def post(earth: EmulatorProcess) -> Callable[..., requests.Response]:
    """POSTs JSON with a token, by a bare HTTP client."""
    form = {
        "grant_type": "client_credentials",
        "client_id": earth.client_id,
        "client_secret": earth.client_secret,
    }
    token = requests.post(earth.token_url, data=form, timeout=30).json()["access_token"]

    def send(path: str, body: Any, accept: str = "*/*") -> requests.Response:
        headers = {"Authorization": f"Bearer {token}", "Accept": accept}
        answer = requests.post(earth.base_url + path, json=body, headers=headers, timeout=120)
        assert answer.status_code == 200, answer.text
        return answer

    return send


@pytest.fixture
def items(post: Callable[..., requests.Response]) -> Callable[..., list[dict[str, Any]]]:
    """All items of a search by the bare client: one call, as many pages as it takes, all members."""

    def read(collection: str, area: shapely.Geometry, interval: TimeInterval, **more: Any) -> list[dict[str, Any]]:
        ends = time_range_json(interval)
        body = {
            "collections": [collection],
            "bbox": list(area.bounds),
            "datetime": f"{ends['from']}/{ends['to']}",
            "limit": 37,
            **more,
        }
        found: list[dict[str, Any]] = []
        following: int | None = 0
        while following is not None:
            told = post(NEW + "/search", {**body, "next": following}).json()
            found += told["features"]
            following = told["context"].get("next")
        return found

    return read


def passes(found: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Items by satellite and by gaps of an hour, from the earliest pass: a pass by the simplest reckoning."""

    def flown(one: dict[str, Any]) -> tuple[str, int]:
        match = NAME.match(one["id"])
        assert match
        hour = np.datetime64(one["properties"]["datetime"][:-1], "h").astype(int)
        return match["satellite"], int(hour) // 3  # by 3 hours: passes over Europe are never near such an hour

    groups = [list(group) for _, group in groupby(sorted(found, key=flown), key=flown)]
    return sorted(groups, key=lambda group: min(one["properties"]["datetime"] for one in group))


@pytest.mark.parametrize(
    ("collection", "area", "data_filter", "cql"),
    [
        pytest.param(S2, VALLEY, {}, None, marks=pytest.mark.long),
        (S2, REGION, {"maxCloudCoverage": 40}, "eo:cloud_cover <= 40"),
        (S1, REGION, RADAR, "sar:instrument_mode = 'IW' AND s1:polarization = 'DV' AND s1:resolution = 'HIGH'"),
        pytest.param(LANDSAT, VALLEY, {}, None, marks=pytest.mark.long),
    ],
)
def test_every_scene_of_a_year_is_found_once(
    service: EmulatorProcess,
    fetch: Fetch,
    items: Any,
    collection: str,
    area: shapely.Geometry,
    data_filter: dict[str, Any],
    cql: str | None,
) -> None:
    """Searched in several calls of several pages, it is what one call of a bare client finds."""
    found = fetch(service, collection=collection, area=area, interval=YEAR, data_filter=data_filter)
    told = items(collection, area, YEAR, **({} if cql is None else {"filter": cql}))
    assert sorted(scene.id for scene in found) == sorted(one["id"] for one in told)
    assert len(found) > 50


def test_both_families_of_paths_tell_the_same(service: EmulatorProcess, fetch: Fetch) -> None:
    """Scene by scene, member by member."""
    assert fetch(service, catalog_path=NEW) == fetch(service, catalog_path=LEGACY)


@pytest.mark.parametrize("collection", [S2, S1, pytest.param(LANDSAT, marks=pytest.mark.long)])
def test_the_time_axis_is_the_catalogues(service: EmulatorProcess, fetch: Fetch, items: Any, collection: str) -> None:
    """A step for each pass over the region, of several satellites and orbits, at the time of its first scene."""
    timeline = make_timeline(fetch(service, collection=collection, area=REGION, interval=YEAR), "acquisition", YEAR)
    flown = passes(items(collection, REGION, YEAR))
    firsts = [min(one["properties"]["datetime"] for one in group) for group in flown]
    assert [step.time.strftime("%Y-%m-%dT%H:%M:%SZ") for step in timeline.steps] == firsts
    assert [set(step.scene_ids) for step in timeline.steps] == [{one["id"] for one in group} for group in flown]
    assert len({step.relative_orbit for step in timeline.steps}) > 2
    assert len({step.platforms for step in timeline.steps}) == 2


@pytest.mark.parametrize(("collection", "known"), [(S2, (True, False)), (S1, (True, True)), (LANDSAT, (True, False))])
def test_steps_know_their_orbit_and_direction(
    service: EmulatorProcess, fetch: Fetch, collection: str, known: tuple[bool, bool]
) -> None:
    """From properties or from names, of every step; only radar tells the direction."""
    steps = make_timeline(fetch(service, collection=collection), "acquisition", SPRING).steps
    assert {step.relative_orbit is not None for step in steps} == {known[0]}
    assert {step.orbit_direction is not None for step in steps} == {known[1]}


@pytest.mark.parametrize("collection", [S2, S1])
def test_the_reference_client_sees_the_same_dates(
    service: EmulatorProcess, fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, collection: str
) -> None:
    """The service's own client, which merges scenes less than 20 minutes apart."""
    monkeypatch.setenv("HOME", str(tmp_path))  # importing it writes settings there
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    import sentinelhub
    from sentinelhub.time_utils import filter_times

    config = sentinelhub.SHConfig(
        use_defaults=True,
        sh_client_id=service.client_id,
        sh_client_secret=service.client_secret,
        sh_base_url=service.base_url,
        sh_token_url=service.token_url,
    )
    search = sentinelhub.SentinelHubCatalog(config=config).search(
        getattr(sentinelhub.DataCollection, {S2: "SENTINEL2_L2A", S1: "SENTINEL1"}[collection]),
        bbox=sentinelhub.BBox(VALLEY.bounds, sentinelhub.CRS.WGS84),
        time=(SPRING.start, SPRING.end),
    )
    times = filter_times(search.get_timestamps(), timedelta(minutes=20))
    steps = make_timeline(fetch(service, collection=collection), "acquisition", SPRING).steps
    assert [step.time for step in steps] == times


def body_of(step: Step, grid: Grid, script: str, collection: str, userdata: bool = False) -> dict[str, Any]:
    """A Process body for a grid at a step's interval."""
    members = [("default", "image/tiff"), *([("userdata", "application/json")] if userdata else [])]
    return {
        "input": {
            "bounds": {
                "bbox": list(grid.bounds()),
                "properties": {"crs": f"http://www.opengis.net/def/crs/EPSG/0/{grid.epsg}"},
            },
            "data": [{"type": collection, "dataFilter": {"timeRange": time_range_json(step.interval)}}],
        },
        "evalscript": script,
        "output": {
            "width": grid.shape[1],
            "height": grid.shape[0],
            "responses": [{"identifier": name, "format": {"type": kind}} for name, kind in members],
        },
    }


def cells_with_data(picture: bytes, tile_px: int) -> np.ndarray:
    """(row, column): whether any pixel of a cell is above 0."""
    with rasterio.MemoryFile(picture) as file, file.open() as raster:
        found = raster.read(1) > 0
    rows, columns = -(-found.shape[0] // tile_px), -(-found.shape[1] // tile_px)
    mask = np.zeros((rows * tile_px, columns * tile_px), np.bool_)
    mask[: found.shape[0], : found.shape[1]] = found
    return mask.reshape(rows, tile_px, columns, tile_px).any(axis=(1, 3))


def write_scene(folder: Path) -> None:
    """A user's scene of one band over the valley."""
    folder.mkdir()
    profile = {"driver": "GTiff", "count": 1, "height": 50, "width": 50, "dtype": "uint16", "crs": "EPSG:32633"}
    with rasterio.open(folder / "B04.tif", "w", transform=from_origin(430000, 5105000, 100, 100), **profile) as raster:
        raster.write(np.ones((1, 50, 50), np.uint16))


def grid_of(area: shapely.Geometry, epsg: int, resolution: float) -> Grid:
    """The grid that holds an area in degrees."""
    bounds = Transformer.from_crs("EPSG:4326", f"EPSG:{epsg}", always_xy=True).transform_bounds(*area.bounds)
    return snap_grid(epsg=epsg, origin=(0.0, 0.0), resolution=(resolution, resolution), bounds=bounds)


@pytest.mark.parametrize(("collection", "data_filter"), [(S2, {}), (S1, RADAR), (LANDSAT, {})])
@pytest.mark.parametrize(
    "position", [0, pytest.param(3, marks=pytest.mark.long), 5, pytest.param(8, marks=pytest.mark.long)]
)
def test_a_request_for_a_step_brings_its_scenes_and_no_others(
    service: EmulatorProcess, fetch: Fetch, post: Any, collection: str, data_filter: dict[str, Any], position: int
) -> None:
    """What the service says it looked at is what the step names: no neighbouring pass leaks in, no scene is missed."""
    found = fetch(service, collection=collection, data_filter=data_filter)
    step = make_timeline(found, "acquisition", SPRING).steps[position]
    grid = grid_of(VALLEY, 4326, 0.01)
    body = body_of(step, grid, NAMES, collection, userdata=True)
    body["input"]["data"][0]["dataFilter"] |= data_filter
    with tarfile.open(fileobj=BytesIO(post("/api/v1/process", body, "application/x-tar").content)) as tar:
        member = tar.extractfile("userdata.json")
        assert member is not None
        names = json.load(member)
    assert sorted(names) == sorted(step.scene_ids)


@pytest.mark.parametrize(
    ("collection", "epsg", "resolution", "tile_px"),
    [
        (S2, 32633, 1000.0, 16),
        (S2, 3857, 1400.0, 8),
        (S2, 4326, 0.01, 25),
        (S1, 32633, 1000.0, 16),
        (LANDSAT, 32633, 1000.0, 7),
    ],
)
def test_no_cell_with_data_is_left_out(
    service: EmulatorProcess, fetch: Fetch, post: Any, collection: str, epsg: int, resolution: float, tile_px: int
) -> None:
    """Every cell in which the service delivers a valid pixel is reached, and few others are."""
    interval = span("2024-06-01", "2024-06-09")
    timeline = make_timeline(
        fetch(service, collection=collection, area=REGION, interval=interval), "acquisition", interval
    )
    grid = grid_of(REGION, epsg, resolution)
    reach = find_reach(timeline, grid, tile_px)
    answers = [post("/api/v1/process", body_of(step, grid, MASK, collection)) for step in timeline.steps]
    delivered = np.stack([cells_with_data(answer.content, tile_px) for answer in answers])
    reached = np.stack([reach.mask(number) for number in range(len(timeline.steps))])
    assert delivered.any(axis=(1, 2)).sum() > 2
    assert not (delivered & ~reached).any()
    assert not delivered.all()
    assert (reached & ~delivered).mean() < 0.12


@pytest.mark.parametrize("area", [VALLEY, REGION, shapely.box(-10, 35, 30, 60)])
@pytest.mark.parametrize(
    "days", [("2024-01-31", "2024-02-29"), ("2024-06-10", "2024-07-10"), ("2024-01-01", "2024-05-02")]
)
def test_a_page_is_priced_as_the_service_prices_it(
    service: EmulatorProcess, post: Any, area: shapely.Geometry, days: tuple[str, str]
) -> None:
    """The two formulas were written apart."""
    interval = span(*days)
    answer = post(LEGACY + "/search", search_body(S2, area=area, interval=interval, limit=1))
    assert price_search(area, interval) == pytest.approx(float(answer.headers["x-processingunits-spent"]), rel=1e-6)


def test_what_was_spent_is_what_was_charged(service: EmulatorProcess, fetch: Fetch) -> None:
    """By the service's own account."""
    spent = Spent()
    fetch(service, area=REGION, interval=YEAR, spent=spent)
    assert spent.pu == pytest.approx(service.stats()["pu_charged"], rel=1e-5)
    assert spent.requests == service.stats()["calls"][f"POST {LEGACY}/search 200"]


def test_a_year_over_a_valley_costs_a_tenth_of_a_unit(service: EmulatorProcess, fetch: Fetch) -> None:
    """Two calls of one page: 12 months of the smallest area."""
    spent = Spent()
    fetch(service, area=shapely.box(15.0, 46.5, 15.1, 46.6), interval=YEAR, spent=spent)
    assert (spent.requests, spent.pu) == (2, pytest.approx(0.12))


def test_faults_lose_no_scene(service: EmulatorProcess, fetch: Fetch) -> None:
    """Errors, rejections and cut answers on the way: the same scenes."""
    whole = fetch(service, area=REGION)
    service.set_faults("catalog/503@1,catalog/429@3,catalog/reset@4,catalog/cut@5")
    assert fetch(service, area=REGION) == whole
    assert [rule["struck"] for rule in service.faults()] == [1, 1, 1, 1]


def test_an_unknown_collection_is_told(service: EmulatorProcess, fetch: Fetch) -> None:
    """In the Catalog's words."""
    with pytest.raises(
        RequestRejected, match="400 IllegalCollection The collection sentinel-9 is not in this catalogue"
    ):
        fetch(service, collection="sentinel-9")


def test_an_area_across_the_antimeridian_finds_both_sides(service: EmulatorProcess, fetch: Fetch) -> None:
    """Scenes east and west of 180 degrees, those across it once."""
    found = fetch(service, area=shapely.box(179.0, 65.0, 181.5, 66.5), interval=span("2024-06-01", "2024-06-15"))
    bounds = np.array([scene.footprint.bounds for scene in found])
    assert len({scene.id for scene in found}) == len(found)
    assert (bounds[:, 0] >= 0).any()
    assert (bounds[:, 2] <= 0).any()


def test_users_own_collections_have_a_time_axis(fetch: Fetch, tmp_path: Path) -> None:
    """By ``byoc-<id>``: folders of GeoTIFFs of a user, a step for each date."""
    write_scene(tmp_path / "scene_2024-06-01")
    write_scene(tmp_path / "scene_2024-06-11")
    with start_emulator(archives={"byoc-mine": str(tmp_path)}) as own:
        found = fetch(own, collection="byoc-mine", interval=span("2024-01-01", "2025-01-01"))
    steps = make_timeline(found, "acquisition", span("2024-01-01", "2025-01-01")).steps
    assert [(step.time.day, step.platforms, step.relative_orbit) for step in steps] == [(1, (), None), (11, (), None)]
