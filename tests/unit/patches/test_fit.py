"""Tables of patches held against the arrays they are to be read from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shdask.assemble.store import create_or_open, read_cube_attributes
from shdask.errors import WrongStore
from shdask.patches.blended import write_blended
from shdask.patches.fit import refuse_misfits
from shdask.patches.measuring.statistics import measure_statistics
from shdask.patches.reading.arrived import find_arrived
from shdask.patches.reading.reader import open_reader
from shdask.patches.table import Patches
from shdask.plan.grid import Grid
from tests.unit.assemble.conftest import Pixels, small_plan

from .rows import make_patches

CALLERS: list[Callable[[Path, Patches, Path], Any]] = [
    lambda store, patches, _: open_reader(store).read(patches[0]),
    lambda store, patches, _: measure_statistics(store, patches, "s2"),
    lambda store, patches, _: find_arrived(store, patches),
    lambda store, patches, out: write_blended(out / "map.zarr", store, patches, lambda _: np.zeros((16, 16))),
]


@pytest.fixture(scope="module")
def grid() -> Grid:
    return small_plan().grid


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube with random pixels."""
    plan = small_plan()
    cube = create_or_open(plan, tmp_path_factory.mktemp("fit") / "cube.zarr")
    pixels = Pixels.random(plan)
    for tile in plan.tiles():
        cube.write_tile(tile, pixels.of(tile))
    return Path(str(cube.place.path))


def test_patches_of_the_cube_fit(store: Path, grid: Grid) -> None:
    """All of them, and each by itself; also across the array's edge."""
    patches = make_patches(grid, [(0, 0), (16, 32), (60, 70)], size_px=16)
    refuse_misfits("cube", read_cube_attributes(store), patches)
    refuse_misfits("cube", read_cube_attributes(store), patches[2])


@pytest.mark.parametrize(
    "changed",
    [
        {"offset": (10_000, 5_000)},
        {"resolution": (20.0, 20.0)},
        {"epsg": 32632},
    ],
    ids=str,
)
def test_patches_of_another_grid_do_not(store: Path, grid: Grid, changed: dict[str, Any]) -> None:
    """Of other ground, of coarser pixels with the same corner, and of another zone with the same numbers."""
    patches = make_patches(replace(grid, **changed), [(0, 0)], size_px=16)
    with pytest.raises(WrongStore, match="give the cube that it was chosen in"):
        refuse_misfits("cube", read_cube_attributes(store), patches)


@pytest.mark.parametrize("call", CALLERS, ids=["read", "measure", "arrived", "blend"])
def test_nobody_takes_another_cubes_patches(
    store: Path, grid: Grid, tmp_path: Path, call: Callable[[Path, Patches, Path], Any]
) -> None:
    """A cube that was built anew elsewhere under the same name, and a table of before."""
    patches = make_patches(replace(grid, offset=(10_000, 5_000)), [(0, 0), (16, 16)], size_px=16)
    with pytest.raises(WrongStore, match="give the cube that it was chosen in"):
        call(store, patches, tmp_path)
