"""Errors of the disk in our words, and what lies on it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from shdask.assemble.disk import DiskPlace, cube_path, disk_errors
from shdask.errors import StoreError, WrongStore


@pytest.mark.parametrize(
    ("code", "cure"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "make room"),
        (errno.EACCES, "change the permissions or choose another folder"),
        (errno.EROFS, "read-only; choose another folder"),
        (errno.EIO, "see to the disk, then build again"),
    ],
)
def test_an_error_of_the_disk_names_the_place_and_the_cure(code: int, cure: str):
    """Whatever the disk says, the message says where and what to do."""
    with pytest.raises(StoreError, match=rf"/cubes/a\.zarr/B04: .*{cure}"), disk_errors(Path("/cubes/a.zarr")):
        raise OSError(code, "refused", "/cubes/a.zarr/B04")


def test_an_error_without_a_file_names_the_cube():
    """Some errors carry no path; the cube's is given then."""
    with pytest.raises(StoreError, match=r"^/cubes/a\.zarr: refused"), disk_errors(Path("/cubes/a.zarr")):
        raise OSError(errno.ENOSPC, "refused")


def test_objects_are_listed_by_row_and_column(tmp_path: Path):
    """Only objects count, not what is being written."""
    places = [(0, 3), (12, 0), (12, 7)]
    files = [tmp_path / "data_mask" / "c" / str(row) / str(column) for row, column in places]
    [file.parent.mkdir(parents=True, exist_ok=True) for file in files]
    [file.touch() for file in [*files, files[0].with_suffix(".abc.partial")]]
    found = DiskPlace(path=tmp_path).list_objects("data_mask")
    assert sorted(map(tuple, found.tolist())) == places


def test_objects_of_an_array_with_time_are_listed_by_step_row_and_column(tmp_path: Path):
    """A step or a row of which nothing is left lists nothing, and neither does what is no number."""
    places = [(0, 0, 3), (0, 12, 0), (10, 0, 0)]
    files = [tmp_path / "data_mask" / "c" / "/".join(map(str, place)) for place in places]
    [file.parent.mkdir(parents=True, exist_ok=True) for file in files]
    [file.touch() for file in [*files, files[0].with_suffix(".abc.partial")]]
    [(tmp_path / "data_mask" / "c" / folder).mkdir(parents=True) for folder in ("2/7", "5", ".trash/0")]
    found = DiskPlace(path=tmp_path).list_objects("data_mask", 3)
    assert sorted(map(tuple, found.tolist())) == places


@pytest.mark.parametrize("dimensions", [2, 3])
def test_an_array_without_objects_lists_none(tmp_path: Path, dimensions: int):
    """A cube without a tile has no folder of shards yet."""
    assert DiskPlace(path=tmp_path).list_objects("data_mask", dimensions).shape == (0, dimensions)


def test_a_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Workers have working directories of their own."""
    monkeypatch.chdir(tmp_path)
    assert cube_path("cube.zarr") == tmp_path / "cube.zarr"


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.ENOENT, errno.ENAMETOOLONG])
def test_a_path_that_can_hold_no_cube_is_a_wrong_argument(code: int):
    """Running the same command again would not help, so its exit code is that of bad arguments."""
    with pytest.raises(WrongStore, match="choose another folder") as refusal, disk_errors(Path("/a"), opening=True):
        raise OSError(code, "refused")
    assert refusal.value.exit_code == 2


def test_a_full_disk_is_no_wrong_argument():
    """Running the same command again is the cure, once there is room."""
    with pytest.raises(StoreError, match="make room") as refusal, disk_errors(Path("/a"), opening=True):
        raise OSError(errno.ENOSPC, "refused")
    assert refusal.value.exit_code == 5


@pytest.mark.parametrize("store", ["gs://bucket/cube", Path("az://bucket/cube"), Path("file:///cube")])
def test_a_url_is_no_folder_even_after_a_path_was_made_of_it(store: str | Path):
    """Otherwise a folder named after the scheme would be filled here, and the bucket stay empty."""
    with pytest.raises(WrongStore, match="a folder on disk or under s3://bucket/prefix"):
        cube_path(store)


def test_a_colon_in_a_name_is_no_url():
    """Only a scheme at the start of a path makes one."""
    assert cube_path("/cubes/2024-06-01T10:00/a") == Path("/cubes/2024-06-01T10:00/a")
