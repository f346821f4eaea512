"""Cubes of which only the pixels and dates of patches are bought, beside the whole one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rioxarray
import zarr

import shdask
from shdask.assemble.conventions import NO_ACQUISITION, NOT_CHOSEN, OUTSIDE_AREA
from shdask.assemble.status import read_status
from shdask.assemble.store import read_cube_attributes
from shdask.emulator.launch import EmulatorProcess
from shdask.errors import BudgetExceeded, WrongStore
from shdask.patches.buying import plan_patches
from shdask.patches.exporting.chips import write_chips
from shdask.patches.exporting.datasheet import make_datasheet
from shdask.patches.exporting.modality import Modality
from shdask.patches.exporting.patch_store import PatchStore, write_patch_store
from shdask.patches.reading.arrived import find_arrived
from shdask.patches.reading.reader import open_reader
from shdask.patches.table import Patches
from shdask.plan.cube import CubePlan
from shdask.report import BuildReport
from shdask.run_cube import run_cube
from shdask.settings import Credentials
from tests.unit.patches.rows import make_patches

AREA = [(500000, 5100000), (505000, 5100000), (505000, 5103000), (502000, 5105000), (500000, 5105000)]
"""250 x 250 pixels of 20 m in two by two tiles, with a corner cut off."""
CORNERS = [(10, 8), (112, 100), (120, 110), (200, 30), (5, 90)]
"""The second and third overlap where all tiles meet; the last is partly beside the area."""
FEW = [(10, 8), (200, 30)]
DATES = ["2024-06-05", "2024-06-11"]


def build(plan: CubePlan, store: Path, *, max_pu: float | None = None) -> BuildReport:
    """A build, one tile after the other."""
    return shdask.build_cube(plan, store, executor=shdask.SerialExecutor(), max_pu=max_pu)


def arrays(store: Path) -> dict[str, np.ndarray]:
    """(time, y, x) of bands and mask."""
    root = zarr.open_group(store, mode="r")
    return {name: root[name][...] for name in ("B04", "SCL", "data_mask")}


def times(store: Path) -> np.ndarray:
    """(time,): days."""
    return np.asarray(zarr.open_group(store, mode="r")["time"][...]).astype("datetime64[ms]").astype("datetime64[D]")


def painted(patches: Patches) -> np.ndarray:
    """(y, x): True where a patch is."""
    inside = np.zeros((250, 250), np.bool_)
    for patch in patches:
        inside[patch.window.slices] = True
    return inside


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Whole:
    """The cube of everything."""

    plan: CubePlan
    store: Path


@pytest.fixture(scope="module")
def whole(one_emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """Eleven days of Sentinel-2, date by date."""
    store = tmp_path_factory.mktemp("whole") / "cube.zarr"
    with pytest.MonkeyPatch.context() as environ:
        for name, value in one_emulator.environment().items():
            environ.setenv(name, value)
        plan = shdask.make_plan(make_spec())
        build(plan, store)
        yield Whole(plan=plan, store=store)


def make_spec(**layer: object) -> shdask.CubeSpec:
    """The job; words are further fields of its layer."""
    optical = {"collection": "sentinel-2-l2a", "bands": ["B04", "SCL"], "cadence": "acquisition"}
    return shdask.CubeSpec(
        aoi={"type": "Polygon", "coordinates": [[*AREA, AREA[0]]]},
        aoi_crs="EPSG:32633",
        crs="EPSG:32633",
        resolution=20,
        time=("2024-06-01", "2024-06-11"),
        layers={"s2": {**optical, **layer}},
        store={"chunk_px": 64, "tile_px": 128},
        service={"requests_per_minute": 60000, "pu_per_minute": 60000},
    )


@pytest.fixture(scope="module")
def patches(whole: Whole) -> Patches:
    return make_patches(whole.plan.only.grid, CORNERS)


@pytest.fixture(scope="module")
def sparse(whole: Whole, patches: Patches, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BuildReport]:
    """Only the patches, at all dates."""
    store = tmp_path_factory.mktemp("sparse") / "cube.zarr"
    return store, build(plan_patches(whole.plan, patches), store)


def test_pixels_of_patches_are_those_of_the_whole_cube(whole: Whole, patches: Patches, sparse) -> None:
    """To the bit, at every date; everything else is fill."""
    inside, found, expected = painted(patches), arrays(sparse[0]), arrays(whole.store)
    assert expected["data_mask"][:, inside].any()
    for name in expected:
        np.testing.assert_array_equal(found[name], np.where(inside, expected[name], 0))
    np.testing.assert_array_equal(times(sparse[0]), times(whole.store))


def test_what_is_spent_is_what_was_projected(whole: Whole, patches: Patches, sparse) -> None:
    """And far below the whole cube's, though small requests have a least price."""
    _, report = sparse
    assert report.pu_spent == pytest.approx(plan_patches(whole.plan, patches).cost.pu)
    assert report.pu_spent < whole.plan.cost.pu / 3


def test_nothing_is_bought_twice(whole: Whole, patches: Patches, sparse) -> None:
    """The same patches, planned again, are the same cube."""
    again = build(plan_patches(whole.plan, patches), sparse[0])
    assert (again.written, again.requests, again.failed) == (0, 0, 0)


def test_all_patches_have_come_once_it_is_built(patches: Patches, sparse) -> None:
    """Whichever layers are asked for."""
    assert find_arrived(sparse[0], patches).tolist() == [True] * 5
    with pytest.raises(WrongStore, match="no layer s9 where 5"):
        find_arrived(sparse[0], patches, layers=["s9"])


def test_patches_have_come_when_their_tiles_have(whole: Whole, patches: Patches, tmp_path: Path) -> None:
    """A build that ends half-way has brought those of the first tiles; the rest comes with the next build."""
    plan = plan_patches(whole.plan, patches.take(np.array([0, 3])))
    tiles = plan.only.tile_set.indices()
    first = [int(tile) for tile in tiles if tile % 4 == 0]
    begun = run_cube(plan, tmp_path / "cube.zarr", shdask.SerialExecutor(), Credentials.load(), only={"": first})
    assert find_arrived(tmp_path / "cube.zarr", patches.take(np.array([0, 3]))).tolist() == [True, False]
    rest = build(plan, tmp_path / "cube.zarr")
    assert find_arrived(tmp_path / "cube.zarr", patches.take(np.array([0, 3]))).tolist() == [True, True]
    assert begun.pu_spent + rest.pu_spent == pytest.approx(plan.cost.pu)


def test_what_has_come_is_whole_while_the_rest_is_bought(
    patches: Patches, whole: Whole, sparse, tmp_path: Path
) -> None:
    """A reader asks after every tile: a patch comes once, with the pixels that it has in the end; at last all have."""
    final, seen, had = open_reader(sparse[0]), {}, [0]

    def look(_: object) -> None:
        known = find_arrived(tmp_path / "cube.zarr", patches)
        reader = open_reader(tmp_path / "cube.zarr")
        seen.update({patch.key: reader.read(patch) for patch in patches.take(known) if patch.key not in seen})
        had.append(int(known.sum()))

    plan = plan_patches(whole.plan, patches)
    shdask.build_cube(plan, tmp_path / "cube.zarr", executor=shdask.SerialExecutor(), on_event=look)
    assert sorted(had) == had
    assert len(set(had)) > 2
    assert had[-1] == len(seen) == 5
    [np.testing.assert_equal(seen[patch.key], final.read(patch)) for patch in patches]


def test_further_patches_are_bought_into_the_same_store(whole: Whole, patches: Patches, tmp_path: Path) -> None:
    """Only they; what is there in the end is what would be there at once."""
    few = build(plan_patches(whole.plan, make_patches(whole.plan.only.grid, FEW)), tmp_path / "cube.zarr")
    rest = build(plan_patches(whole.plan, patches), tmp_path / "cube.zarr")
    inside, found, expected = painted(patches), arrays(tmp_path / "cube.zarr"), arrays(whole.store)
    np.testing.assert_array_equal(found["B04"], np.where(inside, expected["B04"], 0))
    assert few.pu_spent > 0 < rest.pu_spent
    assert few.pu_spent + rest.pu_spent < whole.plan.cost.pu / 3
    assert rest.pu_spent == pytest.approx(rest.pu_projected)
    assert read_cube_attributes(tmp_path / "cube.zarr")["pu_spent"] == pytest.approx(few.pu_spent + rest.pu_spent)
    assert build(plan_patches(whole.plan, patches), tmp_path / "cube.zarr").requests == 0


def test_dated_patches_are_bought_at_their_dates(whole: Whole, tmp_path: Path) -> None:
    """And at no others; a tile is bought at the dates of all its patches."""
    dated = make_patches(whole.plan.only.grid, FEW, dates=DATES)
    plan = plan_patches(whole.plan, dated, days_around=1)
    report = build(plan, tmp_path / "cube.zarr")
    assert report.pu_spent == pytest.approx(plan.cost.pu)
    days, expected = times(tmp_path / "cube.zarr"), arrays(whole.store)
    at = np.isin(times(whole.store), days)
    near = [np.abs(days - np.datetime64(date)) <= np.timedelta64(1, "D") for date in DATES]
    assert near[0].any()
    assert near[1].any()
    assert (near[0] | near[1]).all()
    mask = arrays(tmp_path / "cube.zarr")["data_mask"]
    wanted = near[0][:, None, None] & painted(dated.take(np.array([0])))
    wanted |= near[1][:, None, None] & painted(dated.take(np.array([1])))
    np.testing.assert_array_equal(mask, np.where(wanted, expected["data_mask"][at], 0))
    assert find_arrived(tmp_path / "cube.zarr", dated).tolist() == [True, True]
    states, of_whole = (
        zarr.open_array(store, path="tile_state")[...] for store in (tmp_path / "cube.zarr", whole.store)
    )
    unreached = (of_whole[at] == NO_ACQUISITION) & (states != OUTSIDE_AREA)
    np.testing.assert_array_equal(states == NO_ACQUISITION, unreached)
    assert (states == NOT_CHOSEN).any()
    assert read_status(tmp_path / "cube.zarr").not_bought["not_chosen"] == (states == NOT_CHOSEN).sum()


def test_a_store_of_dated_patches_is_for_them_alone(whole: Whole, tmp_path: Path) -> None:
    """What stands of a tile does not tell for which patch it was bought."""
    grid = whole.plan.only.grid
    build(plan_patches(whole.plan, make_patches(grid, FEW, dates=DATES), days_around=1), tmp_path / "cube.zarr")
    with pytest.raises(WrongStore, match=r"holds another cube: area\.sha256"):
        build(
            plan_patches(whole.plan, make_patches(grid, FEW, dates=DATES[::-1]), days_around=1), tmp_path / "cube.zarr"
        )


def test_the_cap_holds_for_patches(whole: Whole, patches: Patches, tmp_path: Path) -> None:
    """The price of the patches is what must fit."""
    plan = plan_patches(whole.plan, patches)
    with pytest.raises(BudgetExceeded, match=f"{plan.cost.pu:.2f} PU"):
        build(plan, tmp_path / "cube.zarr", max_pu=plan.cost.pu * 0.9)
    assert read_cube_attributes(tmp_path / "cube.zarr")["pu_spent"] == 0.0


def test_a_look_is_taken_at_patches_alone(whole: Whole, patches: Patches, tmp_path: Path) -> None:
    """What it finds clear is bought, with the whole cube's pixels."""
    careful = shdask.make_plan(make_spec(clear={"min": 0.3, "scout_m": 100}))
    plan = plan_patches(careful, patches)
    look = plan.groups["scout/s2"]
    assert 0 < look.area_mask(look.grid.window).sum() < careful.groups["scout/s2"].area_mask(look.grid.window).sum() / 4
    report = build(plan, tmp_path / "cube.zarr")
    found, expected = arrays(tmp_path / "cube.zarr"), arrays(whole.store)
    bought = found["data_mask"].any(axis=(1, 2))
    assert 0 < bought.sum() < bought.size
    assert report.failed == 0
    np.testing.assert_array_equal(found["B04"], np.where(found["data_mask"], expected["B04"], 0))


def test_patches_come_back_from_a_store_of_their_own(patches: Patches, sparse, tmp_path: Path) -> None:
    """As the reader gave them, to the bit, with what they cost."""
    reader = open_reader(sparse[0])
    modalities = {"s2": Modality(read=reader.read, bands=reader.bands("", "s2"))}
    sheet = make_datasheet(sparse[0], patches)
    write_patch_store(tmp_path / "patches.zarr", patches, modalities, patches_per_chunk=2, datasheet=sheet)
    kept = PatchStore.open(tmp_path / "patches.zarr")
    np.testing.assert_equal(kept.read(patches[2]), reader.read(patches[2]))
    assert sheet.pu_spent == pytest.approx(read_cube_attributes(sparse[0])["pu_spent"])
    assert (sheet.layers[0].dates, sheet.layers[0].first_date[:7]) == (5, "2024-06")


def test_chips_show_what_the_cube_holds(whole: Whole, patches: Patches, sparse, tmp_path: Path) -> None:
    """Where they lie, date by date."""
    reader = open_reader(sparse[0])
    write_chips(tmp_path / "chips", patches, {"s2": Modality(read=reader.read, bands=reader.bands("", "s2"))})
    chip = rioxarray.open_rasterio(tmp_path / "chips" / "s2" / f"{patches[1].key}.tif", masked=True)
    expected = shdask.open_cube(whole.store, masked=True)["B04"].rio.clip_box(*patches[1].bounds)
    np.testing.assert_array_equal(chip.to_numpy()[:5], expected.to_numpy())
    chip.close()
