"""The disk under a cube: its Zarr store, the objects in it, and its errors in our words.

Refuses to know what the objects hold. The one place that changes when cubes live elsewhere than on a disk.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from zarr.storage import LocalStore

from shdask.errors import StoreError, WrongStore

PARTIAL_SUFFIX = ".partial"
"""zarr's LocalStore writes to ``<name>.<uuid>.partial`` and renames."""

_CURES = {
    errno.ENOSPC: "the disk is full; make room (what is written is kept) and build again",
    errno.EDQUOT: "your disk quota is used up; make room (what is written is kept) and build again",
    errno.EACCES: "this user may not write there; change the permissions or choose another folder",
    errno.EPERM: "this user may not write there; change the permissions or choose another folder",
    errno.EROFS: "that file system is read-only; choose another folder",
    errno.ENOTDIR: "part of that path is a file; choose another folder",
    errno.ENAMETOOLONG: "the path is too long; choose another folder",
}
_WRONG_PATH = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT, errno.ENAMETOOLONG})
"""What says, while a cube is opened for building, that its path is no place for one."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""Of ``s3://bucket`` a Path leaves ``s3:/bucket``; no letter of a drive is that long."""


def cube_path(store: str | os.PathLike[str]) -> Path:
    """The absolute path of a cube on disk. Raises StoreError for a URL."""
    text = os.fspath(store)
    if _URL.match(text) or "://" in text:
        raise WrongStore(f"{text}: cubes are written to and read from folders on disk; give a path")
    return Path(text).expanduser().absolute()


def open_zarr_store(path: Path, *, read_only: bool = False) -> LocalStore:
    """The Zarr store at ``path``; nothing is read or written yet."""
    return LocalStore(path, read_only=read_only)


@contextmanager
def disk_errors(path: Path, *, opening: bool = False) -> Iterator[None]:
    """Turn an OSError of the block into a StoreError that says where it happened and what to do.

    While a cube is ``opening``, one that the path is to blame for becomes WrongStore.
    """
    try:
        yield
    except OSError as error:
        where = error.filename or path
        wrong_path = opening and error.errno in _WRONG_PATH
        otherwise = (
            "choose another folder" if wrong_path else "see to the disk, then build again; what is written is kept"
        )
        cure = _CURES.get(error.errno or 0, otherwise)
        raise (WrongStore if wrong_path else StoreError)(f"{where}: {error.strerror or error}: {cure}") from error


def object_path(path: Path, array: str, row: int, column: int) -> Path:
    """Where the object (shard, or chunk of an unsharded array) of a (y, x) array lies; Zarr's default chunk keys."""
    return path / array / "c" / str(row) / str(column)


def list_objects(path: Path, array: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows, columns) of the objects that a (y, x) array has on disk, in no order.

    One directory listing per row of objects: a stat per object would take minutes at a million.
    """
    rows: list[int] = []
    columns: list[int] = []
    for row in _numbered(path / array / "c"):
        found = _numbered(path / array / "c" / str(row))
        columns += found
        rows += [row] * len(found)
    return np.asarray(rows, np.int64), np.asarray(columns, np.int64)


def _numbered(folder: Path) -> list[int]:
    try:
        with os.scandir(folder) as entries:
            return [int(entry.name) for entry in entries if entry.name.isdecimal()]
    except FileNotFoundError:
        return []


def sweep_partial_files(path: Path, *, older_than: float) -> int:
    """Remove what killed writers left half-written before ``older_than`` (POSIX time); returns how many files.

    Younger ones may belong to a worker that has outlived its build and is still writing.
    """
    swept = 0
    for folder, _, names in os.walk(path):
        for name in names:
            if name.endswith(PARTIAL_SUFFIX):
                swept += _remove_if_older(Path(folder, name), older_than)
    return swept


def _remove_if_older(file: Path, older_than: float) -> bool:
    try:
        if file.stat().st_mtime >= older_than:
            return False
        file.unlink()
    except FileNotFoundError:  # its writer has just finished it
        return False
    return True
