"""Look before you buy: what a coarse look finds too cloudy is not bought, and nothing else is left out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import zarr
from numpy.typing import NDArray
from shapely.geometry import mapping

import shdask
from shdask.assemble.conventions import TOO_CLOUDY
from shdask.assemble.status import read_status
from shdask.assemble.store import read_cube_attributes
from shdask.assemble.verify import verify_cube
from shdask.emulator.launch import EmulatorProcess
from shdask.errors import BudgetExceeded, WrongStore
from shdask.model import TileState
from shdask.plan.clear import CLEAR_CLASSES
from shdask.report import BuildReport
from shdask.run_cube import price_left
from tests.cluster.specs import earth_spec

MIN = 0.4
SCOUT_M = 200
OFF = 0.03
"""How far a share of 256 x 256 pixels of 20 m may be from one of every tenth of them in y and x."""
LAYER = {"collection": "sentinel-2-l2a", "bands": ["B02", "SCL"], "cadence": "acquisition"}
CLEAR = {"min": MIN, "scout_m": SCOUT_M}
TIME = ["2024-06-01", "2024-06-20"]
LATER = ["2024-06-01", "2024-06-30"]


def spec(*, clear: dict[str, float] | None = CLEAR, time: list[str] = TIME, **changes: Any) -> shdask.CubeSpec:
    """Some weeks over the L-shaped area in seven tiles of 256 px."""
    layer = LAYER if clear is None else {**LAYER, "clear": clear}
    return earth_spec(**{"layers": {"s2": layer}, "time": time, **changes})


def build(place: Path, *, max_pu: float | None = None, **words: Any) -> BuildReport:
    """A build, one tile after the other."""
    return shdask.build_cube(spec(**words), place, executor=shdask.SerialExecutor(), max_pu=max_pu)


def array(place: Path, name: str) -> NDArray[Any]:
    return zarr.open_group(place, mode="r")[name][...]


def fine_shares(place: Path, row: int, column: int) -> NDArray[np.float64]:
    """(time,) of one tile: the share of clear pixels among its valid ones, from a cube of all pixels."""
    window = slice(None), slice(row * 256, row * 256 + 256), slice(column * 256, column * 256 + 256)
    valid = array(place, "data_mask")[window] == 1
    clear = valid & np.isin(array(place, "SCL")[window], CLEAR_CLASSES)
    return clear.sum(axis=(1, 2)) / np.maximum(valid.sum(axis=(1, 2)), 1)


@pytest.fixture(scope="module")
def cubes(earth: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The cube of what is clear, and the one of everything."""
    folder = tmp_path_factory.mktemp("cubes")
    with pytest.MonkeyPatch.context() as environ:
        [environ.setenv(name, value) for name, value in earth.environment().items()]
        build(folder / "clear")
        build(folder / "all", clear=None)
    return folder / "clear", folder / "all"


@pytest.fixture
def cube(cubes: tuple[Path, Path], service: EmulatorProcess, tmp_path: Path) -> Path:
    """A copy of the cube of what is clear, to be built on."""
    return shutil.copytree(cubes[0], tmp_path / "cube")


def test_a_layer_that_was_looked_at_opens_as_a_tree(cubes) -> None:
    """Without its look, whose grid is another; that one is opened by its path."""
    tree = shdask.open_cube_tree(cubes[0])
    assert tree.groups == ("/",)
    assert tree.sizes == shdask.open_cube(cubes[0]).sizes
    assert list(shdask.open_cube(cubes[0], layer="scout/s2").data_vars) == ["SCL", "data_mask"]


@pytest.mark.parametrize(("row", "column"), [(0, 0), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)])
def test_shares_are_those_of_all_pixels(cubes, row, column) -> None:
    """As near as every hundredth pixel can tell."""
    np.testing.assert_allclose(
        array(cubes[0], "clear_share")[:, row, column], fine_shares(cubes[1], row, column), atol=OFF
    )


def test_what_is_clear_is_bought_and_nothing_else(cubes) -> None:
    """By the share that was found; there are some of both."""
    states, shares = array(cubes[0], "tile_state"), array(cubes[0], "clear_share")
    assert (shares[states == TileState.WRITTEN] >= MIN).all()
    assert (shares[states == TOO_CLOUDY] < MIN).all()
    assert set(np.unique(states)) == {TileState.WRITTEN, TOO_CLOUDY, 255}


def test_what_is_bought_is_what_would_have_been(cubes) -> None:
    """Pixel by pixel; where nothing was bought there is no valid pixel."""
    bought = np.repeat(np.repeat(array(cubes[0], "tile_state") == TileState.WRITTEN, 256, axis=1), 256, axis=2)
    mask = array(cubes[0], "data_mask")
    bought = bought[:, : mask.shape[1], : mask.shape[2]]
    np.testing.assert_array_equal(mask, np.where(bought, array(cubes[1], "data_mask"), 0))
    np.testing.assert_array_equal(array(cubes[0], "B02"), np.where(bought, array(cubes[1], "B02"), 0))


def test_the_look_costs_a_fraction_of_what_it_saves(cubes) -> None:
    """One band of every hundredth pixel; the layer costs what the tiles do that are there."""
    look, clear, everything = (
        read_status(cubes[0] / "scout" / "s2").pu_spent, read_status(cubes[0]).pu_spent, read_status(cubes[1]).pu_spent
    )  # fmt: skip  # three figures
    states = array(cubes[0], "tile_state")
    assert look < 0.02 * everything
    assert clear / everything == pytest.approx(
        (states == TileState.WRITTEN).sum() / np.isin(states, (TileState.WRITTEN, TOO_CLOUDY)).sum(), rel=0.1
    )


def test_a_cube_with_clouds_left_out_is_whole(cubes) -> None:
    """They are no tiles that are missing."""
    written = int((array(cubes[0], "tile_state") == TileState.WRITTEN).sum())
    status, found = read_status(cubes[0]), verify_cube(cubes[0])
    assert (status.complete, status.tiles, status.written) == (True, written, written)
    assert (found.whole, found.sound) == (True, written)


def test_the_choice_is_made_once(service, cube) -> None:
    """A second build sends nothing, whatever the look shows by then."""
    states, look = array(cube, "tile_state"), zarr.open_group(cube / "scout" / "s2")
    look["SCL"][...] = 4
    report = build(cube)
    assert (report.requests, service.requests(), report.complete) == (0, [], True)
    np.testing.assert_array_equal(array(cube, "tile_state"), states)


def test_later_dates_are_looked_at_and_chosen(service, cube, tmp_path) -> None:
    """Those before are neither looked at nor chosen again, and the cube is the one built at once."""
    report = build(cube, time=LATER)
    once = build(tmp_path / "once", time=LATER)
    assert 0 < report.groups["scout/s2"].written < once.groups["scout/s2"].written
    [
        np.testing.assert_array_equal(array(cube, name), array(tmp_path / "once", name))
        for name in ("tile_state", "clear_share", "B02", "data_mask", "time")
    ]


@pytest.mark.long
def test_what_could_not_be_looked_at_waits(service, tmp_path) -> None:
    """It is neither bought nor called cloudy, the build says so, and goes on when it is run again."""
    service.set_faults([{"kind": "garbled", "contains": '"width":70'}, {"kind": "garbled", "contains": '"width": 70'}])
    report = build(tmp_path / "cube")
    states = array(tmp_path / "cube", "tile_state")
    service.clear_faults()
    again = build(tmp_path / "cube")
    assert (report.groups["scout/s2"].written, report.groups[""].written, report.complete) == (0, 0, False)
    assert any("could not be looked at" in note for note in report.notes)
    assert set(np.unique(states)) == {TileState.UNTRIED, 255}
    assert (again.complete, again.failed) == (True, 0)


def test_the_cap_covers_look_and_layer(service, tmp_path) -> None:
    """What is left after the look must hold all that is clear; the look is kept."""
    with pytest.raises(
        BudgetExceeded, match=r"scout/s2 0\.00, / \d.*max_pu is 1, of which the look took 0\.\d\d; nothing more"
    ):
        build(tmp_path / "cube", max_pu=1.0)
    asked = len(service.requests())
    report = build(tmp_path / "cube", max_pu=10.0)
    assert asked == 1
    assert (report.groups["scout/s2"].requests, report.complete) == (0, True)


def test_a_cap_below_the_upper_bound_is_enough(service, cubes, tmp_path) -> None:
    """Clouds are not paid for, so their price is not asked for."""
    plan = shdask.make_plan(spec())
    real = read_status(cubes[0]).pu_spent + read_status(cubes[0] / "scout" / "s2").pu_spent
    report = build(tmp_path / "again", max_pu=real + 0.01)
    assert report.complete
    assert report.pu_projected == pytest.approx(real)
    assert plan.cost.pu > real + 0.01


def test_a_finished_cube_costs_nothing_more(service, cubes) -> None:
    """What was found too cloudy is not asked about again."""
    assert price_left(shdask.make_plan(spec()), cubes[0]) == 0


def test_a_plan_shows_both_prices(service) -> None:
    """The look's, and the layer's as an upper bound."""
    plan = shdask.make_plan(spec())
    assert list(plan.groups) == ["scout/s2", ""]
    assert plan.groups["scout/s2"].cost.pu < 0.2
    assert "at most" in repr(plan)
    assert "only tile-dates at least 40% clear are bought" in repr(plan)


def test_another_rule_is_another_cube(cube) -> None:
    """What one would have left out the other has bought."""
    with pytest.raises(WrongStore, match=r"clear\.min is 0\.4 there and 0\.9"):
        build(cube, clear={**CLEAR, "min": 0.9})


def test_one_of_two_layers_is_looked_at(service, tmp_path) -> None:
    """Beside the others, below the folder of looks."""
    layers = {"s2": {**LAYER, "clear": CLEAR}, "dem": {"collection": "dem", "bands": ["DEM"]}}
    report = build(tmp_path / "cube", layers=layers)
    assert list(report.groups) == ["scout/s2", "s2", "dem"]
    assert report.complete
    assert read_cube_attributes(tmp_path / "cube" / "s2")["complete"]


def test_a_grown_area_is_looked_at_where_it_is_new(service, tmp_path) -> None:
    """What was chosen before stays, and the cube is the one built at once but for tiles that were judged by less."""
    extent = (453000, 5094000, 467000, 5108000)
    first, whole = shapely.box(453500, 5094500, 458000, 5107500), shapely.box(453500, 5094500, 466500, 5107500)
    words = {"aoi_crs": "EPSG:32633", "extent": extent}
    build(tmp_path / "cube", aoi=mapping(first), **words)
    before = array(tmp_path / "cube", "clear_share")
    report = build(tmp_path / "cube", aoi=mapping(whole), **words)
    build(tmp_path / "once", aoi=mapping(whole), **words)
    after = array(tmp_path / "cube", "clear_share")
    np.testing.assert_array_equal(after[:, :, 0], before[:, :, 0])
    np.testing.assert_array_equal(after[:, :, 1:], array(tmp_path / "once", "clear_share")[:, :, 1:])
    np.testing.assert_array_equal(
        array(tmp_path / "cube", "B02")[:, :, 256:], array(tmp_path / "once", "B02")[:, :, 256:]
    )
    assert np.isnan(before[:, :, 1:]).all()
    assert report.complete
