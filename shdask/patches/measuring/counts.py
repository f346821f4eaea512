"""Counts of valid and of clear pixels in blocks, kept beside a cube: an object for each date.

Refuses to know pixels, and when counts are out of date.
"""

from __future__ import annotations

import io
import logging
import threading
import zipfile
import zlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np

from shdask.assemble.lease import FOLDER
from shdask.errors import StoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.assemble.layout import Layout
    from shdask.assemble.place import Place

logger = logging.getLogger(__name__)

KEPT = f"{FOLDER}/index"
"""Beside the ledger, where no reader of Zarr looks."""
MAX_BLOCK_PX = 32
UNCOUNTED = -2
"""Stamp of a tile of which nothing is counted."""
CACHE_NBYTES = 128 << 20
"""What one group keeps unpacked of the dates that were asked for last."""
_BROKEN = (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error)


def find_block_px(chunk_px: int) -> int:
    """Side of a block: the largest whole part of a chunk with at most 32 px. Pure."""
    return max(side for side in range(1, min(MAX_BLOCK_PX, chunk_px) + 1) if chunk_px % side == 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepCounts:
    """One date's counts."""

    valid: NDArray[np.uint16]
    """(block_y, block_x): pixels whose ``data_mask`` is 1."""
    clear: NDArray[np.uint16]
    """(block_y, block_x): those of them that are clear."""
    stamps: NDArray[np.int64]
    """(tile_y, tile_x): the checksum in the ledger of the tile that was counted, -1 where it told none; or UNCOUNTED,
    and the counts of the tile are 0."""

    @classmethod
    def none(cls, layout: Layout) -> Self:
        """Of a date of which no tile is counted. Pure."""
        side = find_block_px(layout.chunk_px)
        blocks = tuple(-(-length // side) for length in layout.shape)
        return cls(
            valid=np.zeros(blocks, np.uint16),
            clear=np.zeros(blocks, np.uint16),
            stamps=np.full(layout.tiles_across, UNCOUNTED, np.int64),
        )

    @property
    def nbytes(self) -> int:
        """In memory."""
        return self.valid.nbytes + self.clear.nbytes + self.stamps.nbytes

    def copy(self) -> StepCounts:
        """One that may be written to. Pure."""
        return StepCounts(valid=self.valid.copy(), clear=self.clear.copy(), stamps=self.stamps.copy())

    def over(self, older: StepCounts, tile_blocks: int) -> StepCounts:
        """These, and of tiles that are not counted here those of ``older``; ``tile_blocks`` lie along a tile. Pure."""
        is_here = self.stamps != UNCOUNTED
        rows, columns = self.valid.shape
        in_blocks = is_here.repeat(tile_blocks, axis=0).repeat(tile_blocks, axis=1)[:rows, :columns]
        return StepCounts(
            valid=np.where(in_blocks, self.valid, older.valid),
            clear=np.where(in_blocks, self.clear, older.clear),
            stamps=np.where(is_here, self.stamps, older.stamps),
        )

    def pack(self, rule: str) -> bytes:
        """As a compressed ``.npz``, with what clear means. Pure."""
        file = io.BytesIO()
        np.savez_compressed(file, valid=self.valid, clear=self.clear, stamps=self.stamps, rule=np.array(rule))
        return file.getvalue()

    @classmethod
    def unpack(cls, packed: bytes, rule: str, layout: Layout) -> Self:
        """What `pack` made; none where it is broken, of another grid, or where clear meant something else. Pure."""
        none = cls.none(layout)
        try:
            with np.load(io.BytesIO(packed), allow_pickle=False) as file:
                found = cls(valid=file["valid"], clear=file["clear"], stamps=file["stamps"])
                same_rule = str(file["rule"]) == rule
        except _BROKEN:
            return none
        pairs = ((found.valid, none.valid), (found.clear, none.clear), (found.stamps, none.stamps))
        fits = all((one.shape, one.dtype) == (other.shape, other.dtype) for one, other in pairs)
        return found if same_rule and fits else none


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeptCounts:
    """The counts of one group: beside it, or in memory where its place takes none. Thread-safe."""

    place: Place
    """Of the group."""
    layout: Layout
    rule: str
    """What clear means, in words that differ where it does."""
    _memory: dict[int, bytes] = field(default_factory=dict)
    _recent: OrderedDict[int, StepCounts] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, step: int) -> StepCounts:
        """The counts of a date, none where there are none; not to be written to. Raises StoreError."""
        with self._lock:
            if step in self._recent:
                self._recent.move_to_end(step)
                return self._recent[step]
        packed = self._memory.get(step) or self.place.read(_key(step)) or b""
        counts = StepCounts.unpack(packed, self.rule, self.layout)
        with self._lock:
            self._recent[step] = counts
            while len(self._recent) > max(1, CACHE_NBYTES // counts.nbytes):
                self._recent.popitem(last=False)
        return counts

    def write(self, step: int, counts: StepCounts) -> None:
        """Keep the counts of a date: whole or not at all, so that readers and other writers never see half of it."""
        packed = counts.pack(self.rule)
        if not self._memory:
            try:
                self.place.write(_key(step), packed)
            except StoreError as error:
                logger.info("the index of %s is kept in memory: %s", self.place.name, error)
                self._memory[step] = packed
        else:
            self._memory[step] = packed
        with self._lock:
            self._recent.pop(step, None)


def _key(step: int) -> str:
    return f"{KEPT}/{step:06d}.npz"
