"""Parts of a cube's objects, straight from a disk or a bucket, and whether an object is still the one seen before.

Refuses to know what the bytes mean.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from shdask.assemble.disk import DiskPlace
from shdask.assemble.place import Place
from shdask.errors import StoreError

if TYPE_CHECKING:
    from obstore.store import S3Store

Tag = tuple[int, int, int] | str | None
"""Changes when an object is written anew."""


class ByteRanges(Protocol):
    """Reads a place's objects. Threads may share one; raises what the place's ``errors`` translate."""

    def tag(self, key: str) -> Tag:
        """The object's tag, None where there is none."""

    def read(self, key: str) -> tuple[bytes, Tag] | None:
        """The whole object and its tag, None where there is none."""

    def read_end(self, key: str, nbytes: int) -> tuple[bytes, Tag] | None:
        """Its last bytes and its tag, None where there is none."""

    def read_part(self, key: str, offset: int, nbytes: int, tag: Tag) -> bytes | None:
        """Bytes from ``offset`` on; None where the object is no longer the one with ``tag``."""


def open_byte_ranges(place: Place) -> ByteRanges:
    """What reads parts of the objects of ``place``. Nothing is read yet."""
    if isinstance(place, DiskPlace):
        return FileRanges(path=place.path)
    store = getattr(place.zarr_store(read_only=True), "store", None)
    if store is None:
        raise StoreError(f"{place.name}: parts of objects can be read of a folder or a bucket only")
    return BucketRanges(store=store)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRanges:
    """Of a folder."""

    path: Path

    def tag(self, key: str) -> Tag:
        """See `ByteRanges`."""
        try:
            return _tag(os.stat(f"{self.path}/{key}"))  # noqa: PTH116  # for every sample: a Path takes as long again
        except FileNotFoundError:
            return None

    def read(self, key: str) -> tuple[bytes, Tag] | None:
        """See `ByteRanges`."""
        return self.read_end(key, sys.maxsize)

    def read_end(self, key: str, nbytes: int) -> tuple[bytes, Tag] | None:
        """See `ByteRanges`."""
        try:
            fd = os.open(f"{self.path}/{key}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            found = os.fstat(fd)
            nbytes = min(nbytes, found.st_size)
            return os.pread(fd, nbytes, found.st_size - nbytes), _tag(found)
        finally:
            os.close(fd)

    def read_part(self, key: str, offset: int, nbytes: int, tag: Tag) -> bytes | None:
        """See `ByteRanges`."""
        try:
            fd = os.open(f"{self.path}/{key}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            return os.pread(fd, nbytes, offset) if _tag(os.fstat(fd)) == tag else None
        finally:
            os.close(fd)


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketRanges:
    """Of a bucket's prefix."""

    store: S3Store

    def tag(self, key: str) -> Tag:
        """See `ByteRanges`."""
        import obstore

        try:
            return obstore.head(self.store, key)["e_tag"]
        except FileNotFoundError:
            return None

    def read(self, key: str) -> tuple[bytes, Tag] | None:
        """See `ByteRanges`."""
        import obstore

        try:
            found = obstore.get(self.store, key)
        except FileNotFoundError:
            return None
        return found.bytes().to_bytes(), found.meta["e_tag"]

    def read_end(self, key: str, nbytes: int) -> tuple[bytes, Tag] | None:
        """See `ByteRanges`."""
        import obstore

        try:
            found = obstore.get(self.store, key, options={"range": {"suffix": nbytes}})
        except FileNotFoundError:
            return None
        return found.bytes().to_bytes(), found.meta["e_tag"]

    def read_part(self, key: str, offset: int, nbytes: int, tag: Tag) -> bytes | None:
        """See `ByteRanges`."""
        import obstore
        from obstore.exceptions import PreconditionError

        match = str(tag) if tag is not None else None
        try:
            found = obstore.get(self.store, key, options={"range": (offset, offset + nbytes), "if_match": match})
        except (FileNotFoundError, PreconditionError):
            return None
        return found.bytes().to_bytes()


def _tag(found: os.stat_result) -> Tag:
    return found.st_ino, found.st_mtime_ns, found.st_size
