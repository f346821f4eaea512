"""Tiles that a build replaces while samples are read of them: every sample shows each tile in one state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shdask.assemble.layout import object_key
from shdask.assemble.store import CubeStore
from shdask.errors import StoreError
from shdask.model import TileData
from shdask.patches.reading.chunks import ChunkSource
from shdask.patches.reading.masks import BandMask
from shdask.patches.reading.reader import PatchReader, open_reader
from shdask.patches.table import Patch
from tests.unit.patches.indexed import dated_plan, make_cube
from tests.unit.patches.rows import make_patches


@pytest.fixture
def cube(tmp_path: Path) -> CubeStore:
    """Not complete: the first tile of B04 and SCL, in chunks of 16 px."""
    return make_cube(tmp_path / "cube.zarr", indices=[0])


def patch_of(cube: CubeStore, size_px: int) -> Patch:
    """At the upper left of the first tile, at the first date."""
    first = cube.plan.timeline.steps[0].time.replace(tzinfo=None).isoformat()
    return make_patches(cube.plan.grid, [(0, 0)], size_px=size_px, dates=[first])[0]


def take_mark_away(cube: CubeStore) -> None:
    """As the first step of buying the first tile again."""
    cube.place.remove(object_key("data_mask", cube.layout.mark(cube.plan.tile(0))))


def replace(cube: CubeStore, value: int) -> None:
    """Write the first tile anew, of this value: of each eight rows four valid, the first if it is even."""
    take_mark_away(cube)
    data_mask = np.zeros((32, 32), np.bool_)
    data_mask[np.arange(32) // 4 % 2 == value % 2] = True
    cube.write_tile(cube.plan.tile(0), TileData(values=np.full((2, 32, 32), value, np.uint16), data_mask=data_mask))


def expected(cube: CubeStore, patch: Patch) -> np.ndarray:
    """(y, x) of B04 as zarr reads it, 0 where it is not valid."""
    rows, columns = patch.window.slices
    return np.where(cube.arrays["data_mask"][0, rows, columns], cube.arrays["B04"][0, rows, columns], 0)


def shown(reader: PatchReader, patch: Patch) -> np.ndarray:
    return reader.read(patch)["image"][0, 0]


@pytest.mark.parametrize("sharded", [True, False])
def test_pixels_that_are_held_are_not_shown_under_a_newer_mask(tmp_path: Path, sharded: bool):
    """The mask alone had to be read anew."""
    cube = make_cube(tmp_path / "cube.zarr", dated_plan(sharded=sharded), [0])
    reader, patch = open_reader(cube.place.name), patch_of(cube, 16)
    np.testing.assert_array_equal(shown(reader, patch), expected(cube, patch))
    replace(cube, 8)
    held = reader.cache._chunks
    [held.pop(key) for key in list(held) if "data_mask" in key]  # as others do that need its room
    np.testing.assert_array_equal(shown(reader, patch), expected(cube, patch))


def test_a_tile_of_which_a_part_is_held_is_shown_as_it_is_now(cube: CubeStore):
    """All of it, bands of classes as well."""
    reader = open_reader(cube.place.name, mask=BandMask(band="SCL"))
    reader.read(patch_of(cube, 16))
    replace(cube, 8)
    sample = reader.read(patch_of(cube, 32))
    now = expected(cube, patch_of(cube, 32))
    np.testing.assert_array_equal(sample["image"][0, 0], now)
    np.testing.assert_array_equal(sample["mask"], np.where(now, 8, -100))


@pytest.mark.parametrize("sharded", [True, False])
def test_bands_are_not_shown_under_an_older_mask_that_is_held(tmp_path: Path, sharded: bool):
    """Of a cube that was complete when it was opened, and has been repaired since."""
    cube = make_cube(tmp_path / "cube.zarr", dated_plan(sharded=sharded), [0])
    cube.mark_complete(pu_spent=1.0)
    reader, patch = open_reader(cube.place.name), patch_of(cube, 32)
    reader.read(patch)
    replace(cube, 8)
    held = reader.cache._chunks
    [held.pop(key) for key in list(held) if "B04" in key]
    np.testing.assert_array_equal(shown(reader, patch), expected(cube, patch))


@pytest.mark.parametrize("threads", [0, 4])
def test_a_tile_that_is_replaced_between_mask_and_bands_is_read_again(
    cube: CubeStore, monkeypatch: pytest.MonkeyPatch, threads: int
):
    """So that its pixels are of its new mask."""
    reader, patch = open_reader(cube.place.name, threads=threads), patch_of(cube, 32)
    chunk, values = ChunkSource.chunk, iter([8])

    def late(self, *where):
        [replace(cube, value) for value in values]
        return chunk(self, *where)

    monkeypatch.setattr(ChunkSource, "chunk", late)
    np.testing.assert_array_equal(shown(reader, patch), expected(cube, patch))


@pytest.mark.parametrize("sharded", [True, False])
def test_pixels_of_a_tile_that_loses_its_mark_are_neither_shown_nor_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sharded: bool
):
    """Where the mask's other objects stand as well."""
    cube = make_cube(tmp_path / "cube.zarr", dated_plan(sharded=sharded), [0])
    reader, patch = open_reader(cube.place.name), patch_of(cube, 16)
    chunk, once = ChunkSource.chunk, iter([1])

    def late(self, *where):
        [take_mark_away(cube) for _ in once]
        return chunk(self, *where)

    monkeypatch.setattr(ChunkSource, "chunk", late)
    assert [reader.read(patch)["valid"].any() for _ in range(2)] == [False, False]


def test_a_tile_that_is_replaced_again_and_again_is_told(cube: CubeStore, monkeypatch: pytest.MonkeyPatch):
    """With the cure."""
    reader, patch = open_reader(cube.place.name), patch_of(cube, 32)
    chunk, values = ChunkSource.chunk, iter(range(1, 10_000))

    def late(self, *where):
        replace(cube, next(values))
        return chunk(self, *where)

    monkeypatch.setattr(ChunkSource, "chunk", late)
    with pytest.raises(StoreError, match=r"data_mask/c/0/\d/\d was replaced again .* when the build has ended"):
        reader.read(patch)


def test_a_finished_cube_is_not_asked_again(cube: CubeStore, monkeypatch: pytest.MonkeyPatch):
    """Of a bucket each question is a request."""
    cube.mark_complete(pu_spent=1.0)
    monkeypatch.setattr(ChunkSource, "tag", None)
    reader = open_reader(cube.place.name, mask=BandMask(band="SCL"))
    assert shown(reader, patch_of(cube, 16)).any()
    assert shown(reader, patch_of(cube, 32)).any()
