"""Pixels that wait on the worker's disk."""

from __future__ import annotations

import stat
from dataclasses import replace

import numpy as np
import pytest

from shdask.assemble.spool import Spool, spool_name
from shdask.assemble.store import create_or_open
from shdask.model import TileData
from shdask.plan.grown_area import join_areas
from shdask.plan.windows import TileWindows

NAME = "0123-4-abcd.npz"
SHAPE = (2, 3, 4)


@pytest.fixture
def spool(tmp_path) -> Spool:
    return Spool(folder=tmp_path / "spool")


@pytest.fixture
def data() -> TileData:
    values = np.arange(24, dtype=np.uint16).reshape(SHAPE)
    return TileData(values=values, data_mask=values[0] % 2 == 0)


def test_what_is_kept_is_taken_as_it_was(spool, data):
    """Values, types and mask."""
    spool.keep(NAME, data)
    found = spool.take(NAME, shape=SHAPE)
    np.testing.assert_array_equal(found.values, data.values, strict=True)
    np.testing.assert_array_equal(found.data_mask, data.data_mask, strict=True)


def test_it_stays_until_it_is_dropped(spool, data):
    """A kill between taking and storing loses nothing."""
    spool.keep(NAME, data)
    spool.take(NAME, shape=SHAPE)
    assert spool.take(NAME, shape=SHAPE) is not None
    spool.drop(NAME)
    assert spool.take(NAME, shape=SHAPE) is None


def test_nothing_is_taken_where_nothing_was_kept(spool):
    """Not even the folder needs to be there."""
    assert spool.take(NAME, shape=SHAPE) is None
    spool.drop(NAME)


def test_only_its_owner_can_read_it(spool, data):
    """Folder 0700, file 0600."""
    spool.keep(NAME, data)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (spool.folder, spool.folder / NAME)]
    assert modes == [0o700, 0o600]


def test_it_says_where_the_pixels_are(spool, data):
    """For the error that the build stops with."""
    assert f"kept in {spool.folder / NAME}" in spool.keep(NAME, data)


def test_beyond_its_cap_nothing_is_kept_and_that_is_said(spool, data):
    """A worker's disk is not filled without end."""
    small = Spool(folder=spool.folder, cap_nbytes=600)
    assert "kept in" in small.keep(NAME, data)
    assert "could not be kept" in small.keep("5-" + NAME, data)
    assert [path.name for path in spool.folder.iterdir()] == [NAME]


def test_a_full_disk_is_said_and_leaves_no_half(spool, data, monkeypatch):
    """The spool may lie on the disk that is full."""

    def refuse(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    assert "No space left on device" in spool.keep(NAME, data)
    assert list(spool.folder.iterdir()) == []


@pytest.mark.parametrize("damage", [slice(0, 100), slice(0, 0)])
def test_a_cut_file_is_not_used(spool, data, damage):
    """The tile is bought again."""
    spool.keep(NAME, data)
    file = spool.folder / NAME
    file.write_bytes(file.read_bytes()[damage])
    assert spool.take(NAME, shape=SHAPE) is None


def test_a_flipped_bit_is_noticed(spool, data):
    """Pixels that were damaged on the worker's disk never reach a cube."""
    spool.keep(NAME, data)
    file = spool.folder / NAME
    content = bytearray(file.read_bytes())
    content[content.index(data.values.tobytes())] ^= 1
    file.write_bytes(content)
    assert spool.take(NAME, shape=SHAPE) is None


def test_a_tile_of_another_shape_is_not_used(spool, data):
    """Whatever put it there."""
    spool.keep(NAME, data)
    assert spool.take(NAME, shape=(2, 4, 3)) is None


def test_a_part_is_taken_as_it_was(spool, data):
    """Pixels, mask, and which of them were bought for each part of the layer; no whole tile is found."""
    bought = np.arange(2 * data.data_mask.size).reshape(2, *data.data_mask.shape) % 3 == 0
    assert "kept in" in spool.keep_part(NAME, data, bought)
    found, pixels = spool.take_part(NAME, shape=SHAPE, parts=2)
    np.testing.assert_array_equal(found.values, data.values, strict=True)
    np.testing.assert_array_equal(found.data_mask, data.data_mask, strict=True)
    np.testing.assert_array_equal(pixels, bought, strict=True)
    assert (spool.take(NAME, shape=SHAPE), spool.files("")) == (None, [])


def test_a_part_of_another_layer_is_not_used(spool, data):
    """Whatever put it there."""
    spool.keep_part(NAME, data, np.zeros((2, *data.data_mask.shape), np.bool_))
    assert spool.take_part(NAME, shape=SHAPE, parts=1) is None


def test_a_part_goes_with_its_tile(spool, data):
    """Once that is durable."""
    spool.keep_part(NAME, data, np.zeros((1, *data.data_mask.shape), np.bool_))
    spool.drop(NAME)
    assert list(spool.folder.iterdir()) == []


def test_names_differ_by_place_cube_tile_and_request(make_small_plan, tmp_path):
    """Pixels of one cube, deployment or question are never taken for another's."""
    plans = [make_small_plan(), make_small_plan(bands=("B08",))]
    cubes = [create_or_open(plans[0], tmp_path / "a"), create_or_open(plans[0], tmp_path / "b")]
    cubes.append(create_or_open(plans[1], tmp_path / "c"))
    names = {spool_name(cube, cube.plan.tile(tile), "q") for cube in cubes for tile in (0, 1)}
    names.add(spool_name(cubes[0], plans[0].tile(0), "other"))
    assert len(names) == 7


def test_pixels_of_a_narrower_area_are_not_taken_for_a_wider_ones(make_small_plan, tmp_path):
    """Also where the wider one opens no tile again."""
    plan = make_small_plan()
    cube = create_or_open(plan, tmp_path / "cube")
    wide = replace(cube, plan=replace(plan, area=join_areas([plan.area, plan.area]), windows=TileWindows()))
    assert spool_name(wide, plan.tile(0), "q") != spool_name(cube, plan.tile(0), "q")


def test_the_folder_is_the_users_or_the_one_that_is_named(monkeypatch):
    """A cache of this user, unless SHDASK_SPOOL names another."""
    monkeypatch.delenv("SHDASK_SPOOL", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert str(Spool.of_this_user().folder) == "/cache/shdask/spool"
    monkeypatch.setenv("SHDASK_SPOOL", "/scratch/spool")
    assert str(Spool.of_this_user().folder) == "/scratch/spool"
