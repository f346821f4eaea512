"""Cubes of several layers and of several zones: planned, built, looked at, verified, repaired and continued."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401  # brings .rio
import shapely
import xarray as xr
import zarr
from rasterio.io import MemoryFile

import shdask
from shdask import account
from shdask.account import open_service
from shdask.assemble.export import ledger_table
from shdask.assemble.ledger import Ledger
from shdask.assemble.tree_status import read_whole_status
from shdask.emulator.launch import EmulatorProcess
from shdask.errors import WrongStore
from shdask.fetch.process import window_body
from shdask.model import TileEvent, TileState
from shdask.plan.group import GroupPlan
from shdask.planning import make_plan
from shdask.settings import Credentials

LAYERS = """
[layers.dem]
collection = "dem"
bands = ["DEM"]

[store]
chunk_px = 256
tile_px = 256
"""
DATED = ('bands = ["B02", "B08"]', 'bands = ["B02"]\ncadence = "day"\ntime = ["2024-06-01", "2024-06-08"]')
OVER_A_ZONES_EDGE = shapely.to_geojson(shapely.box(11.97, 46.0, 12.04, 46.04))


@pytest.fixture
def job(write_job, service: EmulatorProcess) -> Path:
    """Days of one layer and the heights below them, six tiles each."""
    return write_job(*DATED, extra=LAYERS)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test that asks for the cube builds it, for all."""
    return tmp_path_factory.mktemp("built") / "cube"


@pytest.fixture
def cube(run, job: Path, built: Path, work: Path, service: EmulatorProcess) -> Path:
    """Both, built, and none of it bought by this test."""
    if not built.exists():
        code, _, err = run("build", job, built)
        assert code == 0, err
        service.reset()
    return shutil.copytree(built, work / "cube")


def one_request(group: GroupPlan) -> np.ndarray:
    """(band, y, x) of a group's whole array in one request, its mask last, by rasterio."""
    body = window_body(group, group.layer.parts[0], group.grid.window, [group.tile(int(group.tile_set.indices()[0]))])
    with open_service(group.deployment, Credentials.load()) as client:
        answer = client.process(body, 1.0, lambda content: content).value
    with MemoryFile(answer) as file, file.open() as picture:
        assert picture.crs == rasterio.CRS.from_epsg(group.grid.epsg)
        return picture.read()


def spoil(shard: Path) -> None:
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 0xFF
    shard.write_bytes(content)


def sent(service: EmulatorProcess) -> int:
    """Pictures that were bought since the last reset."""
    return sum(count for call, count in service.stats()["calls"].items() if call.startswith("POST /api/v1/process"))


def test_a_plan_tells_each_group_and_the_sum(run, job) -> None:
    """By path, each with the same figures; they add up."""
    code, out, err = run("plan", job, "--json")
    told = json.loads(out)
    assert code == 0, err
    assert list(told["groups"]) == ["s2", "dem"]
    promised = {"requests", "pu", "minutes", "nbytes", "tiles"}
    assert promised < set(told)
    assert promised < set(told["groups"]["dem"])
    assert told["groups"]["dem"]["tiles"] == 6
    assert told["tiles"] == told["groups"]["s2"]["tiles"] + 6
    assert told["pu"] == pytest.approx(told["groups"]["s2"]["pu"] + told["groups"]["dem"]["pu"])


def test_a_plan_shows_each_group_and_the_sum(run, job) -> None:
    """For people: steps and dates where there is a time axis, and the price of all."""
    _, out, _ = run("plan", job)
    words = " ".join(out.split())
    assert "s2 grid" in words
    assert "(day), 2024-06-0" in words
    assert words.index("dem grid") < words.index("in all tiles")


def test_a_layer_is_in_no_zone_where_there_are_none(job) -> None:
    """One that is asked for is not passed over."""
    with pytest.raises(WrongStore, match="the plan has no zone 32632; its zones are none"):
        shdask.open_cube(job, layer="dem", zone=32632)


def test_a_plan_of_one_layer_tells_no_groups(run, write_job) -> None:
    """The promised five figures of all of it."""
    _, out, _ = run("plan", write_job(), "--json")
    told = set(json.loads(out))
    assert told > {"requests", "pu", "minutes", "nbytes", "tiles"}
    assert "groups" not in told


def test_a_build_tells_each_group_and_the_sum(run, job, service) -> None:
    """Every tile of both layers, each bought once."""
    code, out, err = run("build", job, "cube", "--json", "--events", "events.jsonl")
    told = json.loads(out)
    assert code == 0, err
    assert told["written"] == told["groups"]["s2"]["written"] + told["groups"]["dem"]["written"] == told["tiles"]
    assert (told["requests"], service.stats()["pu_charged"]) == (
        sent(service),
        pytest.approx(told["pu_spent"], abs=0.1),
    )
    lines = [json.loads(line) for line in Path("events.jsonl").read_text().splitlines()]
    tiles = [(line["group"], line["tile"]) for line in lines if line["event"] == "tile"]
    assert lines[0]["groups"] == ["s2", "dem"]
    assert len(set(tiles)) == len(tiles) == told["tiles"]
    assert lines[-1]["groups"]["dem"]["complete"]


def test_both_layers_are_one_cube_of_groups(cube) -> None:
    """The tree opens with xarray; each group has its own axes on the same grid."""
    tree = xr.open_datatree(cube, engine="zarr")
    assert tree["s2"]["B02"].dims == ("time", "y", "x")
    assert tree["dem"]["DEM"].dims == ("y", "x")
    assert np.array_equal(tree["s2"]["x"], tree["dem"]["x"])
    assert tree.attrs["complete"]
    assert tree.attrs["pu_spent"] == pytest.approx(read_whole_status(cube).whole.pu_spent)


def test_a_layer_holds_what_one_request_brings(cube, job) -> None:
    """Its pixels in the area, bit for bit."""
    group = make_plan(job).groups["dem"]
    heights, valid = one_request(group)
    stored, mask = (zarr.open_array(cube / "dem" / name)[...] for name in ("DEM", "data_mask"))
    inside = (valid > 0) & group.area_mask(group.grid.window)
    assert np.array_equal(mask == 1, inside)
    assert np.array_equal(stored[inside], heights[inside])


def test_a_second_build_buys_nothing(run, job, cube, service) -> None:
    """Of any group."""
    _, out, _ = run("build", job, "cube", "--json")
    told = json.loads(out)
    assert (told["skipped"], told["written"], sent(service)) == (told["tiles"], 0, 0)


def test_status_tells_each_group_and_the_sum(run, cube) -> None:
    """As one object, and as text with a line for each group."""
    _, out, _ = run("status", cube, "--json")
    told = json.loads(out)
    assert (told["complete"], told["store"], told["groups"]["dem"]["written"]) == (True, str(cube), 6)
    assert told["written"] == told["tiles"] == told["groups"]["s2"]["tiles"] + 6
    _, out, _ = run("status", cube)
    assert "\ndem: 6 tiles: 6 written, 0 empty, 0 failed, 0 untried; " in out


def test_a_cap_holds_for_all_groups_before_anything_is_sent(run, job, service) -> None:
    """Enough for either layer, not for both."""
    _, out, _ = run("plan", job, "--json")
    told = json.loads(out)
    cap = max(group["pu"] for group in told["groups"].values()) + 0.01
    service.reset()
    code, _, err = run("build", job, "cube", "--max-pu", cap)
    assert (code, sent(service)) == (4, 0)
    assert "PU are left to buy (s2 " in err


def test_a_build_that_stopped_in_a_group_goes_on_by_the_command_that_status_shows(run, job, service, work) -> None:
    """The quota ends in the second layer; what is left is told of the whole cube, and the command finishes it."""
    service.set_faults("403@9")
    assert run("build", job, "cube")[0] == 4
    service.clear_faults()
    found = read_whole_status(work / "cube")
    words = shlex.split(found.whole.command or "")
    assert (found.whole.complete, found.groups["s2"].complete, found.groups["dem"].complete) == (False, True, False)
    assert words[:4] == ["shdask", "build", str(work / "job.toml"), str(work / "cube")]
    assert run(*words[1:])[0] == 0
    assert read_whole_status(work / "cube").whole.complete


def test_failed_tiles_are_mapped_with_their_group(run, cube) -> None:
    """Each with its path, for there may be a tile of that number in every group."""
    for path in ("s2", "dem"):
        with Ledger.open(cube / path) as ledger:
            ledger.append([TileEvent(tile=3, state=TileState.FAILED, error="cut", finished=1.0)])
    run("status", cube, "--failed", "failed.geojson")
    features = json.loads(Path("failed.geojson").read_text())["features"]
    found = read_whole_status(cube).whole
    assert [feature["id"] for feature in features] == ["s2/3", "dem/3"]
    assert [feature["properties"]["group"] for feature in features] == ["s2", "dem"]
    assert found.errors == {"s2 3": "cut", "dem 3": "cut"}


def test_a_repair_buys_the_broken_tiles_of_each_group(run, cube, service) -> None:
    """One of either: two requests, and both are sound again."""
    spoil(cube / "dem/DEM/c/0/1")
    spoil(cube / "s2/B02/c/0/1/0")
    code, out, _ = run("verify", cube, "--json")
    found = json.loads(out)
    assert (code, list(found["broken"])) == (5, ["s2 2", "dem 1"])
    assert found["groups"]["dem"]["broken"].keys() == {"1"}
    code, out, err = run("verify", cube, "--repair", "--json")
    assert code == 0, err
    assert (json.loads(out)["repaired"]["written"], sent(service)) == (2, 2)
    assert run("verify", cube)[0] == 0
    assert read_whole_status(cube).whole.complete


def test_the_ledgers_of_all_groups_are_one_table(cube) -> None:
    """With the path of each row's group."""
    rows = ledger_table(str(cube)).select(["group", "tile", "state"]).to_pylist()
    assert [row["tile"] for row in rows if row["group"] == "dem"] == [0, 1, 2, 3, 4, 5]
    assert {row["group"] for row in rows} == {"s2", "dem"}


def test_a_job_with_other_layers_is_refused(run, cube, write_job) -> None:
    """Naming those that stand there."""
    code, _, err = run("build", write_job(), "cube")
    assert code == 2, err
    assert "holds another cube: the groups s2, dem there" in err
    assert read_whole_status(cube).whole.complete


def test_a_later_time_buys_later_dates_alone(run, job, cube, service) -> None:
    """Of layers with a cadence; the others stay as they are, and the next status says how to go on."""
    before = zarr.open_array(cube / "s2/B02")[...]
    code, out, err = run("build", job, "cube", "--time", "2024-06-01", "2024-06-20", "--json")
    told, after = json.loads(out), zarr.open_array(cube / "s2/B02")[...]
    assert code == 0, err
    assert (told["groups"]["dem"]["written"], told["groups"]["s2"]["skipped"]) == (0, before.shape[0] * 6)
    assert told["groups"]["s2"]["written"] == (after.shape[0] - before.shape[0]) * 6 > 0
    assert np.array_equal(after[: len(before)], before)
    assert any("later step" in note for note in told["notes"])
    assert read_whole_status(cube).whole.complete


@pytest.mark.parametrize(
    ("days", "message"),
    [
        (("2024-06-20", "2024-06-01"), "the first day is after the last; swap them"),
        (("June", "2024-06-01"), "write days as 2024-06-01 2024-06-30"),
    ],
)
def test_a_wrong_time_is_refused(run, job, service, days, message) -> None:
    """Before anything is sent."""
    code, _, err = run("build", job, "cube", "--time", *days)
    assert (code, service.stats()["calls"]) == (2, {})
    assert message in err


def test_a_time_for_layers_without_one_is_refused(run, write_job, service) -> None:
    """A mosaic of other days is another cube."""
    code, _, err = run("build", write_job(), "cube", "--time", "2024-06-01", "2024-06-20")
    assert code == 2
    assert "no layer of the job has a time axis" in err


@pytest.fixture
def hide_first_scenes(monkeypatch) -> Callable[[], None]:
    """Lets the catalogue forget its first day of scenes, as if they came late; called again, they are there."""
    real = account.fetch_acquisitions
    hidden = [True]

    def fetch(*words: object, **named: object) -> list[object]:
        scenes = real(*words, **named)
        first = min(scene.time.date() for scene in scenes)
        return [scene for scene in scenes if not hidden[0] or scene.time.date() != first]

    monkeypatch.setattr(account, "fetch_acquisitions", fetch)
    return lambda: hidden.__setitem__(0, False)


def test_late_scenes_are_told_with_their_price_and_bought_by_an_update(
    run, write_job, service, hide_first_scenes
) -> None:
    """Without --update nothing is sent for them; with it their date is appended, and a third build buys nothing."""
    job = write_job(*DATED, extra=LAYERS)
    assert run("build", job, "cube")[0] == 0
    hide_first_scenes()
    service.reset()
    _, out, _ = run("build", job, "cube")
    group = make_plan(job).groups["s2"]
    price = f"{sum(map(group.tile_pu, group.tile_set.indices()[:6])):.2f} PU"
    assert sent(service) == 0
    assert "s2: 1 late scene: S2" in out or "late scenes: S2" in out
    assert f"s2: 6 tiles of late and reprocessed scenes, {price}: not bought; an update buys them (--update)" in out
    _, out, _ = run("build", job, "cube", "--update", "--json")
    assert json.loads(out)["groups"]["s2"]["written"] == 6
    _, out, _ = run("build", job, "cube", "--update", "--json")
    assert json.loads(out)["written"] == 0
    assert read_whole_status("cube").whole.complete


@pytest.fixture
def zones(write_job, service) -> Path:
    """One layer over the edge of two zones."""
    return write_job('crs = "EPSG:32633"', 'crs = "utm-zones"', area=OVER_A_ZONES_EDGE,
                     extra="[store]\nchunk_px = 64\ntile_px = 64\n")  # fmt: skip


@pytest.mark.parametrize("zone", ["32632", "32633"])
def test_each_zone_holds_what_one_request_in_it_brings(zones, work, zone) -> None:
    """Where it owns the pixel, bit for bit, and fill elsewhere."""
    shdask.build_cube(zones, work / "cube", executor=shdask.SerialExecutor()).raise_for_failures()
    group = make_plan(zones).groups[zone]
    *bands, valid = one_request(group)
    inside = (valid > 0) & group.area_mask(group.grid.window)
    stored = {name: zarr.open_array(work / "cube" / zone / name)[...] for name in ("B02", "B08", "data_mask")}
    assert 0 < np.count_nonzero(inside) < inside.size
    assert np.array_equal(stored["data_mask"] == 1, inside)
    assert np.array_equal(stored["B02"], np.where(inside, bands[0], 0))
    assert np.array_equal(stored["B08"], np.where(inside, bands[1], 0))


def test_zones_are_one_cube_in_two_groups(zones, run, work, service) -> None:
    """Each in its own CRS; the tiles bought are those planned, and a second build buys nothing."""
    code, out, err = run("build", zones, "cube", "--json")
    told = json.loads(out)
    assert code == 0, err
    assert list(told["groups"]) == ["32632", "32633"]
    assert (told["written"] + told["empty"], sent(service)) == (told["tiles"], told["tiles"])
    found = {zone: xr.open_zarr(work / "cube" / zone) for zone in told["groups"]}
    assert {zone: cube.rio.crs.to_epsg() for zone, cube in found.items()} == {"32632": 32632, "32633": 32633}
    run("build", zones, "cube", "--json")
    assert sent(service) == told["tiles"]


def test_layers_in_zones_are_groups_in_groups(write_job, service, work, run) -> None:
    """The tree opens as one, its zones holding nothing but layers."""
    job = write_job('crs = "EPSG:32633"', 'crs = "utm-zones"', area=OVER_A_ZONES_EDGE, extra=LAYERS)
    assert run("build", job, "cube")[0] == 0
    tree = xr.open_datatree(work / "cube", engine="zarr")
    groups = {group for group in tree.groups if tree[group].data_vars}
    assert groups == {"/32632/s2", "/32632/dem", "/32633/s2", "/32633/dem"}


def test_a_cap_that_is_reached_in_one_group_tells_what_the_others_cost(service, run, write_job) -> None:
    """Answers are cut, charged and bought again until the first group has used up the cap of both."""
    job = write_job(extra='\n[layers.b]\ncollection = "sentinel-2-l2a"\nbands = ["B02", "B08"]\n')
    service.set_faults("cut")
    price = sum(group.cost.pu for group in shdask.make_plan(job).groups.values())
    code, _, err = run("build", job, "cube", "--max-pu", price + 0.01)
    assert code == 4
    assert re.search(r"stopped at 1\.12 PU .* with 1 tiles left, which cost 0\.56 PU", err)
    assert "that was s2; the groups after it cost 0.56 PU (b 0.56)" in err
    assert service.stats()["pu_charged"] <= price + 0.01
