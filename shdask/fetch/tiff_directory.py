"""The directory of a TIFF, classic or BigTIFF, read by ranges of bytes, and a TIFF of some of its blocks written anew.

Refuses to know where bytes come from, and to decode pixels: GDAL does, of what is written here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from shdask.errors import DecodeError
from shdask.fetch.decode import describe

Buffer = bytes | bytearray | memoryview
Read = Callable[[int, int], Buffer]
"""Bytes [start, end) of the file."""

HEAD_NBYTES = 64 * 1024
"""Asked for first: most directories are in it, but for those at a file's end."""
TAG_NBYTES = 32 << 20
"""No tag is larger; the tables of a file of 10,000 x 10,000 px and 100 bands in strips of one row are 8 MB each."""
TAGS = 1000
"""No directory has more."""
LENGTH, COMPRESSION, FILL_ORDER, STRIP_OFFSETS, SAMPLES, STRIP_ROWS, STRIP_COUNTS, PLANAR = (
    257, 259, 266, 273, 277, 278, 279, 284,
)  # fmt: skip  # one line
WIDTH, BITS, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS = 256, 258, 322, 323, 324, 325
"""Numbers of tags, of TIFF 6.0."""
_ELSEWHERE = frozenset({330, 34665, 34853})
"""Tags that lead to other directories of the file."""
_SIZES: Mapping[int, int] = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8,
}  # fmt: skip  # one line
"""Bytes of a value, by the type's number."""
_WHOLE: Mapping[int, str] = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
_SHORT, _LONG, _LONG8 = 3, 4, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """A tag's values as they stand in the file."""

    kind: int
    count: int
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Directory:
    """The first directory of a TIFF, and what it says of how pixels are laid out: blocks are its strips, or tiles."""

    order: str
    """``<`` or ``>``, as of struct."""
    tags: Mapping[int, Tag]

    def numbers(self, tag: int) -> NDArray[np.uint64]:
        """The values of a tag of whole numbers; none where it is missing. Raises DecodeError for another type."""
        found = self.tags.get(tag)
        if found is None:
            return np.empty(0, np.uint64)
        if found.kind not in _WHOLE:
            raise DecodeError(f"the TIFF's tag {tag} is not of whole numbers")
        return np.frombuffer(found.raw, self.order + _WHOLE[found.kind]).astype(np.uint64)

    def number(self, tag: int, missing: int) -> int:
        """The first value of a tag, or ``missing`` where there is none."""
        found = self.numbers(tag)
        return int(found[0]) if found.size else missing

    @property
    def is_tiled(self) -> bool:
        """Whether its blocks are tiles."""
        return TILE_WIDTH in self.tags

    @property
    def block_rows(self) -> int:
        """Rows of pixels in a block."""
        height = self.number(LENGTH, 0)
        return max(1, self.number(TILE_LENGTH, 1) if self.is_tiled else min(height, self.number(STRIP_ROWS, height)))

    def blocks(self, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where each block begins in a file of ``size`` bytes, and how many it has: (plane, row, column) of blocks.

        There is one plane where bands are interleaved; a block that was left out has 0 bytes. Raises DecodeError
        where the table does not fit the picture, or the file.
        """
        places, lengths = (TILE_OFFSETS, TILE_COUNTS) if self.is_tiled else (STRIP_OFFSETS, STRIP_COUNTS)
        planes = self.number(SAMPLES, 1) if self.number(PLANAR, 1) == 2 else 1  # noqa: PLR2004  # TIFF's own number
        across = -(-self.number(WIDTH, 0) // max(1, self.number(TILE_WIDTH, 1))) if self.is_tiled else 1
        shape = planes, -(-self.number(LENGTH, 0) // self.block_rows), across
        offsets, counts = self.numbers(places), self.numbers(lengths)
        if not offsets.size == counts.size == int(np.prod(shape)):
            raise DecodeError(f"the TIFF names {offsets.size} blocks of pixels where {shape} are needed")
        counts = np.where(offsets == 0, 0, counts)
        if np.any(offsets > size) or np.any(counts > size - np.minimum(offsets, size)):
            raise DecodeError(f"the TIFF ends after {size} bytes, before its last strip does")
        return offsets.astype(np.int64).reshape(shape), counts.astype(np.int64).reshape(shape)

    def write(self, rows: int, blocks: Sequence[Buffer]) -> bytes:
        """A BigTIFF of so many rows with these blocks, in the order of `blocks`; an empty one is left out. Pure."""
        places, lengths = (TILE_OFFSETS, TILE_COUNTS) if self.is_tiled else (STRIP_OFFSETS, STRIP_COUNTS)
        counts = [len(block) for block in blocks]
        tags = {number: tag for number, tag in self.tags.items() if number not in _ELSEWHERE}
        tags[LENGTH] = self._tag(_LONG, [rows])
        tags[lengths] = self._tag(_LONG8, counts)
        if not self.is_tiled:
            tags[STRIP_ROWS] = self._tag(_LONG, [self.block_rows])
        start = 16 + 8 + 20 * len(tags) + 8
        tags[places] = self._tag(_LONG8, [0] * len(counts))
        start += sum(len(tag.raw) for tag in tags.values() if len(tag.raw) > 8)  # noqa: PLR2004  # BigTIFF's own number
        ends = start + np.cumsum(counts)
        tags[places] = self._tag(_LONG8, np.where(counts, ends - counts, 0).tolist())
        return b"".join([self._head(tags), *blocks])

    def _head(self, tags: Mapping[int, Tag]) -> bytes:
        head = (b"II" if self.order == "<" else b"MM") + struct.pack(f"{self.order}HHHQQ", 43, 8, 0, 16, len(tags))
        outside = 16 + 8 + 20 * len(tags) + 8
        entries, values = [], []
        for number in sorted(tags):
            tag = tags[number]
            if len(tag.raw) <= 8:  # noqa: PLR2004  # BigTIFF's own number
                value = tag.raw.ljust(8, b"\0")
            else:
                value = struct.pack(f"{self.order}Q", outside)
                values.append(tag.raw)
                outside += len(tag.raw)
            entries.append(struct.pack(f"{self.order}HHQ", number, tag.kind, tag.count) + value)
        return b"".join([head, *entries, bytes(8), *values])

    def _tag(self, kind: int, values: Sequence[int]) -> Tag:
        raw = np.asarray(values, np.uint64).astype(self.order + _WHOLE[kind]).tobytes()
        return Tag(kind=kind, count=len(values), raw=raw)

    @classmethod
    def parse(cls, read: Read, size: int) -> Self:
        """Reads the first directory of a file of ``size`` bytes. Raises DecodeError for what is no TIFF, or cut."""
        head = bytes(read(0, min(HEAD_NBYTES, size))) if size else b""
        mark = {b"II": "<", b"MM": ">"}.get(head[:2], "")
        is_long_enough = len(head) >= 16  # noqa: PLR2004  # a BigTIFF's head
        version = struct.unpack(f"{mark}H", head[2:4])[0] if mark and is_long_enough else 0
        if version not in _FORMS:
            raise DecodeError(f"the file is no TIFF: {describe(head)}")
        form = _FORMS[version]
        file = _File(read=read, size=size, head=head)
        (start,) = struct.unpack(mark + form.offset, head[form.first : form.first + form.inline])
        width = struct.calcsize("<" + form.counter)
        (count,) = struct.unpack(mark + form.counter, file.take(start, width))
        if count > TAGS:
            raise DecodeError(f"the TIFF's directory is damaged: {count} tags")
        entry_nbytes = 4 + 2 * form.inline
        entries = file.take(start + width, count * entry_nbytes)
        tags = {}
        for position in range(0, len(entries), entry_nbytes):
            number, tag = _read_tag(entries[position : position + entry_nbytes], mark, form, file)
            tags[number] = tag
        return cls(order=mark, tags=tags)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    first: int
    """Where the directory's offset stands."""
    offset: str
    counter: str
    """Of tags."""
    inline: int
    """Bytes of an offset, and of values that stand in their entry."""


_FORMS = {
    42: _Form(first=4, offset="I", counter="H", inline=4),
    43: _Form(first=8, offset="Q", counter="Q", inline=8),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    read: Read
    size: int
    head: bytes

    def take(self, start: int, nbytes: int) -> bytes:
        if start + nbytes > self.size or nbytes > TAG_NBYTES:
            raise DecodeError(f"the TIFF ends after {self.size} bytes, before its directory does")
        if start + nbytes <= len(self.head):
            return self.head[start : start + nbytes]
        return bytes(self.read(start, start + nbytes)) if nbytes else b""


def _read_tag(entry: bytes, mark: str, form: _Form, file: _File) -> tuple[int, Tag]:
    number, kind = struct.unpack(f"{mark}HH", entry[:4])
    (count,) = struct.unpack(mark + form.offset, entry[4 : 4 + form.inline])
    value = entry[4 + form.inline :]
    if kind not in _SIZES:
        raise DecodeError(f"the TIFF's tag {number} is of the unknown type {kind}")
    nbytes = count * _SIZES[kind]
    if nbytes > form.inline:
        value = file.take(struct.unpack(mark + form.offset, value)[0], nbytes)
    return number, Tag(kind=kind, count=count, raw=value[:nbytes])
