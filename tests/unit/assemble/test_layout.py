"""Objects on disk and the tiles that own them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shdask.assemble.layout import Layout, object_key
from shdask.assemble.store import tile_index
from shdask.model import Tile, Window

SHAPE = (70, 80)


def tile_at(row: int, column: int, shape: tuple[int, int] = SHAPE, side: int = 32, *, step: int | None = None) -> Tile:
    extent = Window(
        y0=row * side,
        y1=min((row + 1) * side, shape[0]),
        x0=column * side,
        x1=min((column + 1) * side, shape[1]),
    )
    return Tile(index=0, step=step, row=row, column=column, extent=extent, windows=(extent,))


def pixels(window: Window) -> np.ndarray:
    return np.ravel_multi_index(np.mgrid[window.slices].reshape(2, -1), SHAPE)


SHARDED = Layout(shape=SHAPE, tile_px=32, chunk_px=16, sharded=True)
UNSHARDED = Layout(shape=SHAPE, tile_px=32, chunk_px=16, sharded=False)


def test_a_sharded_tile_is_one_object():
    """The shard is the tile."""
    assert SHARDED.objects(tile_at(1, 2)) == [(1, 2)]
    assert SHARDED.mark(tile_at(1, 2)) == (1, 2)


def test_an_unsharded_tile_owns_its_chunks_and_is_committed_by_the_last():
    """Without shards, the chunk at the lower right commits the tile."""
    assert UNSHARDED.objects(tile_at(0, 1)) == [(0, 2), (0, 3), (1, 2), (1, 3)]
    assert UNSHARDED.mark(tile_at(0, 1)) == (1, 3)


def test_an_unsharded_edge_tile_owns_only_chunks_that_hold_pixels():
    """At the array's edge the mark is the last chunk that exists."""
    assert UNSHARDED.objects(tile_at(2, 2)) == [(4, 4)]
    assert UNSHARDED.mark(tile_at(2, 2)) == (4, 4)


def test_objects_of_a_step_stand_in_a_folder_of_their_own():
    """As Zarr names the chunks of an array (time, y, x) with one step each."""
    tile = tile_at(0, 1, step=7)
    assert (SHARDED.objects(tile), SHARDED.mark(tile)) == ([(7, 0, 1)], (7, 0, 1))
    assert UNSHARDED.objects(tile) == [(7, 0, 2), (7, 0, 3), (7, 1, 2), (7, 1, 3)]
    assert object_key("B04", UNSHARDED.mark(tile)) == "B04/c/7/1/3"
    assert object_key("B04", UNSHARDED.mark(tile_at(0, 1))) == "B04/c/1/3"


@pytest.mark.parametrize("layout", [SHARDED, UNSHARDED])
def test_the_mask_of_a_step_is_written_in_the_same_order(layout: Layout):
    """Time adds a folder and changes nothing else."""
    assert layout.steps(tile_at(1, 2, step=7)) == layout.steps(tile_at(1, 2))


def test_a_tile_is_a_piece_of_the_array_at_its_step():
    """All of it, or a window of it; without a time axis there is no step to name."""
    tile, window = tile_at(2, 2, step=7), Window(y0=64, y1=65, x0=64, x1=66)
    assert tile_index(tile) == (7, slice(64, 70), slice(64, 80))
    assert tile_index(tile, window) == (7, slice(64, 65), slice(64, 66))
    assert tile_index(tile_at(2, 2)) == (slice(64, 70), slice(64, 80))


def test_marks_of_many_tiles_are_those_of_each():
    """The vectorised rule and the rule for one tile are one rule."""
    rows, columns = (part.ravel() for part in np.mgrid[0:3, 0:3])
    expected = [UNSHARDED.mark(tile_at(row, column)) for row, column in zip(rows, columns, strict=True)]
    assert list(zip(*(part.tolist() for part in UNSHARDED.marks(rows, columns)), strict=True)) == expected


@pytest.mark.parametrize("layout", [SHARDED, UNSHARDED])
@given(row=st.integers(0, 2), column=st.integers(0, 2))
def test_mask_steps_hold_every_pixel_once_and_the_mark_alone_and_last(layout: Layout, row: int, column: int):
    """Whatever was written before the last step, the commit mark does not stand yet."""
    tile = tile_at(row, column)
    steps = layout.steps(tile)
    np.testing.assert_array_equal(np.sort(np.concatenate(list(map(pixels, steps)))), pixels(tile.extent))
    mark_row, mark_column = layout.mark(tile)
    assert steps[-1].y0 == max(mark_row * layout.object_px, tile.extent.y0)
    assert steps[-1].x0 == max(mark_column * layout.object_px, tile.extent.x0)
    assert (steps[-1].y1, steps[-1].x1) == (tile.extent.y1, tile.extent.x1)


def test_objects_of_each_step_of_the_mask_are_its_own():
    """What is in the way of a later step is removed without what an earlier one has written."""
    tile = tile_at(0, 1)
    steps = [UNSHARDED.objects(tile, window) for window in UNSHARDED.steps(tile)]
    assert steps == [[(0, 2), (0, 3)], [(1, 2)], [(1, 3)]]
