"""A cube's place on a disk: its objects are files, durable once fsynced; its errors in our words.

Refuses to know what the objects hold.
"""

from __future__ import annotations

import errno
import os
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from zarr.storage import LocalStore

from shdask.assemble.journal import FILE, FileJournal, read_file
from shdask.assemble.lock import FileLock
from shdask.errors import StoreError, StoreUnavailable, WrongStore

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
_MAY_PASS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EAGAIN, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE}
)
"""What may be over in a minute: somebody makes room, a network disk comes back."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""Of ``s3://bucket`` a Path leaves ``s3:/bucket``; no letter of a drive is that long."""


def cube_path(store: str | os.PathLike[str]) -> Path:
    """The absolute path of a cube on disk. Raises WrongStore for a URL."""
    text = os.fspath(store)
    if _URL.match(text) or "://" in text:
        raise WrongStore(f"{text}: a cube lives in a folder on disk or under s3://bucket/prefix; give one of these")
    return Path(text).expanduser().absolute()


@contextmanager
def disk_errors(path: Path, *, opening: bool = False) -> Iterator[None]:
    """Turn an OSError of the block into a StoreError that says where it happened and what to do.

    While a cube is ``opening``, one that the path is to blame for becomes WrongStore.
    """
    try:
        yield
    except StoreError as error:  # of a block inside
        if opening and isinstance(error.__cause__, OSError) and error.__cause__.errno in _WRONG_PATH:
            raise WrongStore(str(error)) from error.__cause__
        raise
    except OSError as error:
        where = error.filename or path
        wrong_path = opening and error.errno in _WRONG_PATH
        otherwise = (
            "choose another folder" if wrong_path else "see to the disk, then build again; what is written is kept"
        )
        cure = _CURES.get(error.errno or 0, otherwise)
        kind = WrongStore if wrong_path else StoreUnavailable if error.errno in _MAY_PASS else StoreError
        raise kind(f"{where}: {error.strerror or error}: {cure}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskPlace:
    """A folder; see `Place`. Its objects are durable when they and the folders that name them are fsynced."""

    path: Path
    _settled: set[Path] = field(default_factory=set, repr=False, compare=False)
    """Folders whose own names this process has made durable."""

    @property
    def name(self) -> str:
        """The absolute path."""
        return str(self.path)

    def zarr_store(self, *, read_only: bool = False) -> LocalStore:
        """The Zarr store at the path; nothing is read or written yet."""
        return LocalStore(self.path, read_only=read_only)

    @contextmanager
    def errors(self, *, opening: bool = False) -> Iterator[None]:
        """Turn an OSError of the block into a StoreError."""
        with disk_errors(self.path, opening=opening):
            yield

    def exists(self, key: str) -> bool:
        """Whether the file exists."""
        with self.errors():
            try:
                (self.path / key).stat()
            except (FileNotFoundError, NotADirectoryError):
                return False
            return True

    def read(self, key: str) -> bytes | None:
        """The file's bytes."""
        with self.errors():
            try:
                return (self.path / key).read_bytes()
            except FileNotFoundError:
                return None

    def write(self, key: str, data: bytes) -> None:
        """Write beside, fsync, rename, fsync the folder."""
        file = self.path / key
        with self.errors():
            _write_beside(file, data, _fsync)
            self._settle_folders({file.parent})

    def put(self, key: str, data: bytes) -> None:
        """Write beside and rename, as zarr's LocalStore does."""
        with self.errors():
            _write_beside(self.path / key, data, lambda _partial: None)

    def remove(self, key: str) -> None:
        """Unlink the file."""
        with self.errors(), suppress(FileNotFoundError):
            (self.path / key).unlink()

    def names(self, folder: str = "") -> list[str]:
        """The folder's entries."""
        with self.errors():
            try:
                return os.listdir(self.path / folder)  # noqa: PTH208  # names are asked for
            except FileNotFoundError:
                return []

    def list_objects(self, array: str, dimensions: int = 2) -> NDArray[np.int64]:
        """One directory listing per row of objects: a stat per object would take minutes at a million."""
        with self.errors():
            return _positions(self.path / array / "c", dimensions)

    def settle(self, keys: Sequence[str] | None = None) -> None:
        """Fsync files, then the folders that hold their names: zarr's LocalStore does neither."""
        with self.errors():
            files = [self.path / key for key in keys] if keys is not None else _files_under(self.path)
            for file in files:
                _fsync(file)
            self._settle_folders({file.parent for file in files})

    def _settle_folders(self, folders: set[Path]) -> None:
        """Fsync ``folders``, and once in a process those above them up to the cube's own parent."""
        for folder in folders:
            _fsync(folder)
            if folder in self._settled:
                continue
            for above in folder.parents:
                with suppress(PermissionError):  # a parent that may be passed through and not be read
                    _fsync(above)
                if above == self.path.parent or above in self._settled:
                    break
            self._settled.add(folder)

    def sweep(self, *, older_than: float) -> int:
        """Remove zarr's partial files; younger ones may belong to a worker that has outlived its build."""
        swept = 0
        with self.errors():
            for folder, _, names in os.walk(self.path):
                for name in names:
                    if name.endswith(PARTIAL_SUFFIX):
                        swept += _remove_if_older(Path(folder, name), older_than)
        return swept

    def lock(self, key: str, text: bytes, *, is_dead: Callable[[bytes, float], bool]) -> FileLock:
        """The kernel's lock; see `FileLock`."""
        file = self.path / key
        with self.errors(opening=True):
            file.parent.mkdir(parents=True, exist_ok=True)
            return FileLock.acquire(file, text, write=lambda now: self.write(key, now), is_dead=is_dead)

    def open_journal(self, run: str) -> FileJournal:  # noqa: ARG002  # one file for all runs
        """One file, fsynced with every append; raises OSError."""
        with self.errors():
            return FileJournal.open(self.path / FILE)

    def read_journal(self) -> Iterator[bytes]:
        """The file's bytes."""
        with self.errors():
            yield from read_file(self.path / FILE)


def _write_beside(file: Path, data: bytes, settle: Callable[[Path], None]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{uuid.uuid4().hex}{PARTIAL_SUFFIX}")
    try:
        partial.write_bytes(data)
        settle(partial)
        partial.replace(file)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _fsync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:  # not every file system can fsync a folder
        if error.errno != errno.EINVAL:
            error.filename = str(path)
            raise
    finally:
        os.close(fd)


def _files_under(path: Path) -> list[Path]:
    return [Path(folder, name) for folder, _, names in os.walk(path) for name in names]


def _numbered(folder: Path) -> list[int]:
    try:
        with os.scandir(folder) as entries:
            return [int(entry.name) for entry in entries if entry.name.isdecimal()]
    except FileNotFoundError:
        return []


def _positions(folder: Path, dimensions: int) -> NDArray[np.int64]:
    """(object, dimension): the numbers of nested folders, and of the files in the innermost."""
    found = np.asarray(_numbered(folder), np.int64).reshape(-1, 1)
    if dimensions == 1:
        return found
    parts = [_positions(folder / str(number), dimensions - 1) for number in found[:, 0].tolist()]
    counts = [part.shape[0] for part in parts]
    inner = np.concatenate([np.empty((0, dimensions - 1), np.int64), *parts])
    return np.hstack((np.repeat(found, counts, axis=0), inner))


def _remove_if_older(file: Path, older_than: float) -> bool:
    try:
        if file.stat().st_mtime >= older_than:
            return False
        file.unlink()
    except FileNotFoundError:  # its writer has just finished it
        return False
    return True
