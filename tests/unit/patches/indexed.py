"""Small cubes with a time axis of which some tiles are written, and what numpy says of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from shdask.assemble.ledger import Ledger
from shdask.assemble.store import CubeStore, create_or_open
from shdask.model import TileData, TileEvent
from shdask.plan.group import GroupPlan
from tests.unit.assemble.conftest import small_plan
from tests.unit.timed import along_days, everywhere

BLOCK_PX = 16
CLEAR = (4, 5, 6, 7, 11)
"""Of the scene classification, as the service documents it: vegetation, bare, water, unclassified, snow."""


def dated_plan(steps: int = 2, **changes: Any) -> GroupPlan:
    """B04 and SCL of 70 x 80 px in tiles of 32 px, eight of them at each of some dates; chunks of 16 px."""
    plan = small_plan(**changes)
    return along_days(plan, everywhere(plan, steps))


def pixels_of(plan: GroupPlan, index: int, seed: int) -> TileData:
    """Random reflectances and classes, nine of ten pixels of the area valid."""
    tile = plan.tile(index)
    rng = np.random.default_rng((seed, index))
    values = np.stack([rng.integers(1, 10001, tile.extent.shape), rng.integers(0, 12, tile.extent.shape)])
    valid = plan.area_mask(tile.extent) & (rng.random(tile.extent.shape) < 0.9)
    return TileData(values=values[: len(plan.layer.bands)].astype(np.uint16), data_mask=valid)


def write_tiles(cube: CubeStore, indices: Iterable[int], *, seed: int = 1) -> None:
    """As a build does: pixels, then a row each."""
    events = []
    for index in indices:
        stored = cube.write_tile(cube.plan.tile(index), pixels_of(cube.plan, index, seed))
        events.append(TileEvent(tile=index, state=stored.state, checksum=stored.checksum))
    with Ledger.open(cube.place) as ledger:
        ledger.append(events)


def make_cube(path: Path, plan: GroupPlan | None = None, indices: Iterable[int] | None = None) -> CubeStore:
    """A cube of which these tiles (all) are written."""
    cube = create_or_open(plan or dated_plan(), path)
    write_tiles(cube, cube.plan.tile_set.indices().tolist() if indices is None else indices)
    return cube


def stored(cube: CubeStore, step: int) -> tuple[np.ndarray, np.ndarray]:
    """(valid, clear): (y, x) bool of what the arrays of the cube hold at a step."""
    valid = np.asarray(cube.arrays["data_mask"][step]) == 1
    return valid, valid & np.isin(np.asarray(cube.arrays["SCL"][step]), CLEAR)


def in_blocks(pixels: np.ndarray) -> np.ndarray:
    """How many True each block of 16 px has, of an array of any shape."""
    rows, columns = (-(-side // BLOCK_PX) for side in pixels.shape)
    padded = np.zeros((rows * BLOCK_PX, columns * BLOCK_PX), np.int64)
    padded[: pixels.shape[0], : pixels.shape[1]] = pixels
    return padded.reshape(rows, BLOCK_PX, columns, BLOCK_PX).sum(axis=(1, 3))
