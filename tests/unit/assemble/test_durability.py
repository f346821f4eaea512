"""What is said to be on a disk is there when the power fails: the order of writes and fsyncs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import zarr

from shdask.assemble.disk import DiskPlace
from shdask.assemble.ledger import Ledger
from shdask.assemble.store import create_or_open
from shdask.errors import StoreUnavailable
from shdask.model import TileEvent, TileState


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens below ``tmp_path``, in order: ``write ARRAY`` and ``fsync PATH``."""
    heard: list[str] = []
    fsync, setitem, put = os.fsync, zarr.Array.__setitem__, DiskPlace.put

    def fsync_heard(fd: int) -> None:
        fsync(fd)
        heard.append(f"fsync {os.path.relpath(Path(f'/proc/self/fd/{fd}').readlink(), tmp_path)}")

    def setitem_heard(array: zarr.Array, region: object, values: object) -> None:
        setitem(array, region, values)
        heard.append(f"write {array.name.lstrip('/')}")

    def put_heard(place: DiskPlace, key: str, data: bytes) -> None:
        put(place, key, data)
        heard.append(f"write {key.partition('/')[0]}")

    monkeypatch.setattr("os.fsync", fsync_heard)
    monkeypatch.setattr(DiskPlace, "put", put_heard)
    monkeypatch.setattr(zarr.Array, "__setitem__", setitem_heard)
    return heard


def test_bands_are_durable_before_the_commit_mark_is_written(plan, pixels, tmp_path, story):
    """Files, then the folders that name them, up to the cube's own; only then the mark, and likewise."""
    cube = create_or_open(plan, tmp_path / "cube")
    tile = plan.tile(4)
    story.clear()
    cube.write_tile(tile, pixels.of(tile))
    bands, mark = split_at(story, "write data_mask")
    files = ["fsync cube/B04/c/1/1", "fsync cube/SCL/c/1/1"]
    assert bands[:4] == ["write B04", "write SCL", *files]
    assert {f"fsync cube/{name}/c/1" for name in ("B04", "SCL")} <= set(bands[4:])
    assert {f"fsync cube/{name}/c" for name in ("B04", "SCL")} <= set(bands[4:])
    folders = ["fsync cube/data_mask/c/1", "fsync cube/data_mask/c"]
    assert mark[:4] == ["write data_mask", "fsync cube/data_mask/c/1/1", *folders]


def split_at(story: list[str], line: str) -> tuple[list[str], list[str]]:
    place = story.index(line)
    return story[:place], story[place:]


def test_the_second_tile_of_a_row_fsyncs_its_files_and_their_folders_only(plan, pixels, tmp_path, story):
    """Folders above are fsynced once in a process."""
    cube = create_or_open(plan, tmp_path / "cube")
    cube.write_tile(plan.tile(3), pixels.of(plan.tile(3)))
    story.clear()
    cube.write_tile(plan.tile(4), pixels.of(plan.tile(4)))
    assert sorted(line for line in story if line.startswith("fsync")) == [
        "fsync cube/B04/c/1",
        "fsync cube/B04/c/1/1",
        "fsync cube/SCL/c/1",
        "fsync cube/SCL/c/1/1",
        "fsync cube/data_mask/c/1",
        "fsync cube/data_mask/c/1/1",
    ]


def test_an_unsharded_tile_has_its_other_mask_chunks_durable_before_its_mark(make_small_plan, pixels, tmp_path, story):
    """The commit mark is the last of four chunks."""
    cube = create_or_open(make_small_plan(sharded=False), tmp_path / "cube")
    tile = cube.plan.tile(0)
    story.clear()
    cube.write_tile(tile, pixels.of(tile))
    last_write = len(story) - 1 - story[::-1].index("write data_mask")
    mask = [line for line in story[:last_write] if line.startswith("fsync cube/data_mask/c/")]
    assert {"fsync cube/data_mask/c/0/0", "fsync cube/data_mask/c/0/1", "fsync cube/data_mask/c/1/0"} <= set(mask)
    assert "fsync cube/data_mask/c/1/1" in story[last_write:]
    assert "fsync cube/data_mask/c/1/1" not in mask


def test_a_row_is_durable_when_append_returns(tmp_path, story):
    """And not a moment later."""
    with Ledger.open(tmp_path) as ledger:
        story.clear()
        ledger.append([TileEvent(tile=0, state=TileState.EMPTY)])
        assert story == ["fsync .shdask/ledger.jsonl"]


def test_a_created_cube_is_durable_before_it_is_called_whole(plan, tmp_path, story, monkeypatch):
    """The identity, which says so, is written when all other files are fsynced."""
    whole: list[str] = []
    update = zarr.Group.update_attributes

    def update_heard(group: zarr.Group, attributes: dict[str, object]) -> zarr.Group:
        whole.extend(story if "identity" in attributes else [])
        return update(group, attributes)

    monkeypatch.setattr(zarr.Group, "update_attributes", update_heard)
    create_or_open(plan, tmp_path / "cube")
    files = [str(path.relative_to(tmp_path)) for path in (tmp_path / "cube").rglob("*") if path.is_file()]
    assert {f"fsync {file}" for file in files if ".shdask" not in file} <= set(whole)


def test_an_object_is_written_beside_and_renamed_when_durable(tmp_path, story, monkeypatch):
    """A power failure leaves the old one or the new one."""
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda file, to: (replace(file, to), story.append(f"rename {to.name}"))[0])
    DiskPlace(path=tmp_path).write("a/b", b"x")
    kinds = [line.split(".")[0] for line in story]
    assert kinds[:3] == ["fsync a/b", "rename b", "fsync a"]
    assert (tmp_path / "a/b").read_bytes() == b"x"


def test_a_refused_object_leaves_the_old_one_and_no_half(tmp_path, monkeypatch):
    """Whatever the disk says."""
    place = DiskPlace(path=tmp_path)
    place.write("a", b"old")

    def refuse(_fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(StoreUnavailable, match="Input/output error"):
        place.write("a", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"old")]


def test_a_tile_whose_fsync_fails_is_not_durable(plan, pixels, tmp_path, monkeypatch):
    """The mark is not made for pixels that may be lost."""
    cube = create_or_open(plan, tmp_path / "cube")

    def refuse(_fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(StoreUnavailable, match="Input/output error"):
        cube.write_tile(plan.tile(0), pixels.of(plan.tile(0)))
    assert not cube.is_durable(plan.tile(0))
