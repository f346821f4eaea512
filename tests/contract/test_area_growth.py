"""A cube whose area grows inside its extent: only what is new is bought, and the cube is the one built at once."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import zarr
from shapely.geometry import mapping

import shdask
from shdask.assemble.ledger import read_ledger
from shdask.assemble.status import read_status
from shdask.assemble.store import read_cube_attributes
from shdask.assemble.verify import verify_cube
from shdask.emulator.launch import EmulatorProcess
from shdask.errors import BudgetExceeded, WrongStore
from shdask.model import TileState
from shdask.report import BuildReport
from tests.cluster.specs import earth_spec

EXTENT = (453000, 5094000, 467000, 5108000)
"""700 x 700 pixels of 20 m, three by three tiles of 256."""
FIRST = shapely.box(453500, 5094500, 458000, 5107500)
"""Columns 25 to 250, rows 25 to 675: three tiles one below the other."""
L_SHAPE = FIRST | shapely.box(453500, 5094500, 463000, 5098000)
"""With columns 25 to 500 of rows 500 to 675: new in two tiles that stand, and two tiles more."""
WHOLE = L_SHAPE | shapely.box(460000, 5094500, 466500, 5103000)
IN_TIME = {
    "layers": {"s2": {"collection": "sentinel-2-l2a", "bands": ["B02"], "cadence": "acquisition"}},
    "time": ["2024-06-01", "2024-06-06"],
}
KILLED_BUILD = """
import os, signal, sys
import shapely
from shdask.assemble.store import CubeStore
from tests.contract.test_area_growth import build

put, left = CubeStore._put, [int(sys.argv[2])]

def write_some(*pixels):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    put(*pixels)

CubeStore._put = write_some
build(shapely.from_wkt(sys.argv[3]), sys.argv[1])
"""


def build(area: shapely.Geometry, place: Path | str, *, max_pu: float | None = None, **changes: Any) -> BuildReport:
    """A build over ``area``, one tile after the other."""
    spec = earth_spec(aoi=mapping(area), aoi_crs="EPSG:32633", extent=EXTENT, **changes)
    return shdask.build_cube(spec, place, executor=shdask.SerialExecutor(), max_pu=max_pu)


def killed_build(area: shapely.Geometry, store: Path, writes: int) -> int:
    """A build in a process of its own that is killed before its next write of an array; its exit code."""
    code = [sys.executable, "-c", KILLED_BUILD, str(store), str(writes), area.wkt]
    return subprocess.run(code, check=False, cwd=Path(__file__).parents[2]).returncode


def arrays(store: Path) -> dict[str, np.ndarray]:
    """Everything a reader sees."""
    return {name: array[...] for name, array in zarr.open_group(store, mode="r").arrays()}


def bounds_asked(service: EmulatorProcess) -> list[list[float]]:
    """The bbox of every request since the last reset."""
    return [request["input"]["bounds"]["bbox"] for request in service.requests()]


def assert_equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    """Bit for bit."""
    assert one.keys() == other.keys()
    [np.testing.assert_array_equal(one[name], other[name], err_msg=name) for name in one]


@pytest.fixture(scope="module")
def cubes(earth: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cubes of the first area and of the L-shaped one."""
    folder = tmp_path_factory.mktemp("cubes")
    with pytest.MonkeyPatch.context() as environ:
        [environ.setenv(name, value) for name, value in earth.environment().items()]
        build(FIRST, folder / "first")
        build(L_SHAPE, folder / "l_shape")
    return folder


@pytest.fixture
def grown(service: EmulatorProcess, cubes: Path, tmp_path: Path) -> Path:
    """A cube of the first area, and a service that has sold nothing yet."""
    service.reset()
    return shutil.copytree(cubes / "first", tmp_path / "cube")


@pytest.fixture(params=[{}, IN_TIME, {"store": {"chunk_px": 128, "tile_px": 256, "sharded": False}}])
def changes(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """A mosaic, a time axis, and chunks as objects."""
    return request.param


def test_grown_twice_is_built_at_once(service, tmp_path, changes) -> None:
    """Every array is the same to the bit, tile states and time axis included."""
    [build(area, tmp_path / "grown", **changes) for area in (FIRST, L_SHAPE, WHOLE)]
    build(WHOLE, tmp_path / "once", **changes)
    assert_equal(arrays(tmp_path / "grown"), arrays(tmp_path / "once"))
    assert verify_cube(tmp_path / "grown").sound == verify_cube(tmp_path / "once").sound > 0


def test_only_the_new_windows_are_bought(service, grown) -> None:
    """In every tile the least box of what is new: in two that stand, and in two that are newly reached."""
    report = build(L_SHAPE, grown)
    assert sorted(bounds_asked(service)) == sorted(
        [
            [458000, 5094500, 458120, 5097760],  # columns 250 to 256, rows 512 to 675: of the third tile
            [458000, 5097760, 458120, 5098000],  # rows 500 to 512 of the second
            [458120, 5097760, 463000, 5098000],  # columns 256 to 500 of the same rows
            [458120, 5094500, 463000, 5097760],
        ]
    )
    assert (report.requests, report.written, report.skipped) == (4, 4, 1)


def test_growth_costs_what_its_windows_do(service, grown) -> None:
    """Two bands of 32 bits... of a third of 512 x 512 pixels each, a hundredth at the least; as was projected."""
    report = build(L_SHAPE, grown)
    pixels = np.maximum([6 * 163, 6 * 12, 244 * 163, 244 * 12], 0.01 * 512 * 512)
    expected = np.maximum(pixels / 512**2 * 2 / 3, 0.005).sum()
    assert report.pu_spent == pytest.approx(expected)
    assert report.pu_projected == pytest.approx(expected)
    assert service.stats()["pu_charged"] == pytest.approx(expected)


def test_old_pixels_stay_as_they_are(service, grown) -> None:
    """Also where the service has other pixels by now: only new ones are taken from its answers."""
    before = arrays(grown)
    group = zarr.open_group(grown, mode="r+")
    group["B02"][520:600, 100:200] = 7  # what nobody would send
    build(L_SHAPE, grown)
    after = arrays(grown)
    assert (after["B02"][520:600, 100:200] == 7).all()
    np.testing.assert_array_equal(after["B08"][:, :250], before["B08"][:, :250])
    assert not (after["data_mask"] < before["data_mask"]).any()


def test_a_grown_cube_buys_nothing_again(service, grown) -> None:
    """Neither the same job nor the one before sends anything."""
    build(L_SHAPE, grown)
    service.reset()
    reports = [build(L_SHAPE, grown), build(FIRST, grown)]
    assert [(report.requests, report.complete) for report in reports] == [(0, True), (0, True)]
    assert service.requests() == []


def test_pixels_that_leave_the_area_stay(service, grown) -> None:
    """An area that moves is added to what the cube has."""
    before = arrays(grown)
    build(shapely.box(457000, 5094500, 463000, 5098000), grown)
    after = arrays(grown)
    np.testing.assert_array_equal(after["B02"][:, :200], before["B02"][:, :200])
    assert after["data_mask"][600, 300] == 1
    assert read_status(grown).complete


@pytest.mark.parametrize("changes", [{"buffer": 100}, {"all_touched": True}], ids=["buffer", "all_touched"])
def test_a_wider_rule_is_another_area(service, grown, tmp_path, changes) -> None:
    """Its rim is bought, and the cube is the one built with it."""
    slanted = shapely.affinity.rotate(FIRST, 3)
    build(slanted, tmp_path / "slanted")
    report = build(slanted, tmp_path / "slanted", **changes)
    build(slanted, tmp_path / "once", **changes)
    assert report.written > 0
    assert_equal(arrays(tmp_path / "slanted"), arrays(tmp_path / "once"))


@pytest.mark.parametrize(
    "writes",
    [
        pytest.param(0, id="first", marks=pytest.mark.long),
        pytest.param(1, id="band"),
        pytest.param(2, id="mask"),
        pytest.param(3, id="mark"),
        pytest.param(7, id="later", marks=pytest.mark.long),
        pytest.param(12, id="last", marks=pytest.mark.long),
    ],
)
def test_a_killed_growth_repeats_what_was_in_flight(service, grown, cubes, writes) -> None:
    """Wherever it is killed: at most one request more than without, and the same cube."""
    ended = killed_build(L_SHAPE, grown, writes)
    build(L_SHAPE, grown)
    assert ended == (-signal.SIGKILL if writes < 12 else 0)
    assert len(service.requests()) <= 4 + 1  # of the growth, and repeated
    assert_equal(arrays(grown), arrays(cubes / "l_shape"))
    assert verify_cube(grown).whole
    assert read_status(grown).complete


def test_a_killed_growth_leaves_nothing_broken(service, grown) -> None:
    """Between two bands of a tile that stood, its pixels are still those that stood."""
    before = arrays(grown)
    killed_build(L_SHAPE, grown, 1)
    found, after = verify_cube(grown), arrays(grown)
    assert found.whole
    valid = before["data_mask"] == 1
    np.testing.assert_array_equal(after["B02"][valid], before["B02"][valid])
    np.testing.assert_array_equal(after["data_mask"], before["data_mask"])


def test_a_growth_cut_short_goes_on_with_another(service, grown, tmp_path) -> None:
    """What the one lacked the other buys, with its own."""
    killed_build(L_SHAPE, grown, 4)
    build(WHOLE, grown)
    build(WHOLE, tmp_path / "once")
    assert_equal(arrays(grown), arrays(tmp_path / "once"))


def test_a_tile_that_fails_to_grow_is_tried_again(service, grown) -> None:
    """It counts as failed, keeps what it has, and the next build buys the rest of it alone."""
    before = arrays(grown)["data_mask"]
    service.set_faults([{"kind": "garbled", "contains": "458000.0,5097760.0"}])
    failed = build(L_SHAPE, grown)
    states, after = read_ledger(grown).states, arrays(grown)["data_mask"]
    service.clear_faults()
    service.reset()
    report = build(L_SHAPE, grown)
    assert (failed.failed, failed.complete, states[3]) == (1, False, TileState.FAILED)
    np.testing.assert_array_equal(after[256:512, :256], before[256:512, :256])
    assert (report.complete, report.requests, len(bounds_asked(service))) == (True, 1, 1)


def test_a_broken_tile_fails_to_grow_alone(service, grown) -> None:
    """It says what to do, and the others grow."""
    shard = grown / "B02" / "c" / "2" / "0"
    shard.write_bytes(shard.read_bytes()[:50])
    report = build(L_SHAPE, grown)
    assert (list(report.failures), report.failed, report.written) == ([6], 1, 3)
    assert "verify" in report.failures[6]


def test_an_area_that_is_too_dear_leaves_no_trace(service, grown) -> None:
    """The cube is still the one it was, and complete."""
    with pytest.raises(BudgetExceeded, match="4 tiles are left"):
        build(L_SHAPE, grown, max_pu=0.1)
    report = build(FIRST, grown)
    assert (report.complete, report.tiles, service.requests()) == (True, 3, [])


def test_status_tells_what_a_growth_has_left(service, grown) -> None:
    """Tiles that stand and lack pixels are to be done."""
    killed_build(L_SHAPE, grown, 0)
    found = read_status(grown)
    assert (found.complete, found.tiles, found.written, found.untried) == (False, 5, 1, 4)
    assert read_cube_attributes(grown)["complete"] is False


def test_the_ledger_closes_what_it_reopened(service, grown) -> None:
    """A row that says written of a tile is of all its pixels."""
    build(L_SHAPE, grown)
    assert read_ledger(grown).reopened == {}


def test_without_an_extent_another_area_is_another_cube(service, tmp_path) -> None:
    """The array follows the area there, and tiles would move."""
    spec = earth_spec(aoi=mapping(FIRST), aoi_crs="EPSG:32633")
    shdask.build_cube(spec, tmp_path / "cube", executor=shdask.SerialExecutor())
    other = earth_spec(aoi=mapping(FIRST.buffer(-100)), aoi_crs="EPSG:32633")
    with pytest.raises(WrongStore, match=r"area\.sha256"):
        shdask.build_cube(other, tmp_path / "cube", executor=shdask.SerialExecutor())
