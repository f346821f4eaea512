"""Decoded chunks of a cube's arrays, read whole and once: a bounded cache that bands, patches and threads share.

Refuses to know patches, and what pixels mean.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from shdask.assemble.layout import object_key
from shdask.assemble.place import Place
from shdask.assemble.shard import NOTHING, decode_chunk, decode_index, index_nbytes
from shdask.assemble.template import DATA_MASK
from shdask.errors import StoreError, WrongStore
from shdask.model import Window
from shdask.patches.reading.byte_ranges import Tag, open_byte_ranges
from shdask.patches.reading.states import TileStates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    State = tuple[Tag, Tag]
    """(of the object that commits its tile, of the one that holds its mask): see `TileStates`."""
    Index = tuple[NDArray[np.uint64], Tag]

CACHE_NBYTES = 256 * 2**20
INDEX_ENTRIES = 2**18
"""Chunks whose places in shards are remembered; an entry takes 16 bytes, so 4 MB at most."""
_TRIES = 3
"""An object may be replaced between its table and its chunk, by a build that makes tiles wider."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayLayout:
    """How an array of a cube, (y, x) or (time, y, x), is cut."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fill_value: float
    chunk_px: int
    shard_px: int | None
    """None where chunks are objects."""
    tile_px: int
    units: str
    """Its attribute; empty without."""

    @classmethod
    def of(cls, array: zarr.Array[Any], place: Place, *, tile_px: int) -> ArrayLayout:
        """The layout of an array of the cube at ``place``. Raises WrongStore where its chunks are not as ours."""
        if not (len(array.compressors) == 1 and isinstance(array.compressors[0], BloscCodec)) or array.filters:
            raise WrongStore(f"{place.name}: {array.path} is not compressed as shdask does; read it with zarr")
        return cls(
            name=array.basename,
            shape=array.shape,
            dtype=np.dtype(array.dtype),
            fill_value=float(array.fill_value),
            chunk_px=array.chunks[-1],
            shard_px=None if array.shards is None else array.shards[-1],
            tile_px=tile_px,
            units=str(array.attrs.get("units", "")),
        )

    def object_of(self, position: tuple[int, ...], name: str = "") -> str:
        """The key of the object that holds a chunk at [step,] row, column, or that of another array there. Pure."""
        across = 1 if self.shard_px is None else self.shard_px // self.chunk_px
        *steps, row, column = position
        return object_key(name or self.name, (*steps, row // across, column // across))

    def mark_of(self, position: tuple[int, ...]) -> str:
        """The key of the ``data_mask`` object that commits the tile of a chunk, as `Layout.mark` has it. Pure."""
        if self.shard_px is not None:
            return self.object_of(position, DATA_MASK)
        side, across = self.chunk_px, self.tile_px // self.chunk_px
        *steps, row, column = position
        last = [
            (min((number // across + 1) * self.tile_px, length) - 1) // side
            for number, length in zip((row, column), self.shape[-2:], strict=True)
        ]
        return object_key(DATA_MASK, (*steps, *last))

    def cells(self, window: Window) -> Iterator[tuple[tuple[int, int], Window]]:
        """(row, column) of each chunk that ``window`` touches, and the pixels of it that are in both. Pure."""
        side, (height, width) = self.chunk_px, self.shape[-2:]
        top, left = max(window.y0, 0), max(window.x0, 0)
        bottom, right = min(window.y1, height), min(window.x1, width)
        if top >= bottom or left >= right:
            return
        for row in range(top // side, -(-bottom // side)):
            for column in range(left // side, -(-right // side)):
                yield (
                    (row, column),
                    Window(
                        y0=max(top, row * side),
                        y1=min(bottom, row * side + side),
                        x0=max(left, column * side),
                        x1=min(right, column * side + side),
                    ),
                )


class ChunkCache:
    """Decoded chunks, those used last, up to ``nbytes``; pickles without them. Threads may share it.

    Each is held with the state of its tile under which it was read.
    """

    def __init__(self, nbytes: int = CACHE_NBYTES) -> None:
        self.nbytes = nbytes
        self._held = 0
        self._chunks: OrderedDict[tuple[Any, ...], tuple[NDArray[Any], State]] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[ChunkCache], tuple[int]]:
        return ChunkCache, (self.nbytes,)

    def get(self, key: tuple[Any, ...]) -> tuple[NDArray[Any], State] | None:
        """The chunk under ``key`` and its state, if it is held."""
        with self._lock:
            found = self._chunks.get(key)
            if found is not None:
                self._chunks.move_to_end(key)
            return found

    def put(self, key: tuple[Any, ...], chunk: NDArray[Any], state: State) -> None:
        """Hold ``chunk`` in place of one of another state, and forget what was not used for longest."""
        if chunk.nbytes > self.nbytes:
            return
        with self._lock:
            if key in self._chunks:
                self._held -= self._chunks.pop(key)[0].nbytes
            self._chunks[key] = chunk, state
            self._held += chunk.nbytes
            while self._held > self.nbytes:
                _, (oldest, _) = self._chunks.popitem(last=False)
                self._held -= oldest.nbytes

    @property
    def held_nbytes(self) -> int:
        """What is held now."""
        return self._held


class ChunkSource:
    """The chunks of one group of a cube. Picklable, without what it holds; threads may share it."""

    def __init__(self, place: Place, cache: ChunkCache, *, may_change: bool = True) -> None:
        self._place = place
        self._cache = cache
        self._may_change = may_change
        """Whether a build may be replacing tiles."""
        self._ranges = open_byte_ranges(place)
        self._indices: OrderedDict[str, Index] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Callable[[Place, ChunkCache, bool], ChunkSource], tuple[Place, ChunkCache, bool]]:
        return _make, (self._place, self._cache, self._may_change)

    @property
    def name(self) -> str:
        """Of the group's place."""
        return self._place.name

    def tag(self, key: str) -> Tag:
        """That of an object as it stands now, None where there is none. Raises StoreError."""
        with self._place.errors():
            return self._ranges.tag(key)

    def mask(self, array: ArrayLayout, position: tuple[int, ...], states: TileStates) -> NDArray[Any] | None:
        """(y, x) of a chunk of ``data_mask``, whose state ``states`` then knows; see `chunk`.

        Raises StoreError; TileReplaced where ``states`` have seen the tile in another state.
        """
        own, mark = array.object_of(position), array.mark_of(position)
        held = self._cache.get((self.name, array.name, position))
        if held is not None:
            pairs = list(zip((mark, own), held[1], strict=True))
            if not any(states.was_seen(self, key) and states.tag(self, key) != tag for key, tag in pairs):
                for key, tag in pairs:
                    states.see(self, key, tag, held=True)
                return held[0]
        is_known = states.was_seen(self, mark)
        commit = None if own == mark else states.tag(self, mark) if is_known else self.tag(mark)
        data, tag = self._read(array, position)
        state = (tag if own == mark else commit), tag
        if own != mark:
            states.see(self, mark, commit, held=is_known)  # no later than it was
        states.see(self, own, tag)
        if data is None or state[0] is None:
            return None
        chunk = self._decode(array, position, data)
        self._cache.put((self.name, array.name, position), chunk, state)
        return chunk

    def chunk(self, array: ArrayLayout, position: tuple[int, ...], states: TileStates) -> NDArray[Any] | None:
        """(y, x) of the whole chunk at ``position``, [step,] row, column; None where nothing is stored.

        The mask's chunk there has been read into ``states``. What is given may be shared: it cannot be written to.
        Raises StoreError, and where the chunk is broken.
        """
        own, mark = array.object_of(position, DATA_MASK), array.mark_of(position)
        state = states.tag(self, mark), states.tag(self, own)
        key = self.name, array.name, position
        held = self._cache.get(key)
        if held is not None and held[1] == state:
            return held[0]
        data, _ = self._read(array, position)
        chunk = None if data is None else self._decode(array, position, data)
        keep = partial(self._cache.put, key, chunk, state) if chunk is not None else None
        if self._may_change or any(states.is_held(self, each) for each in (mark, own)):
            states.doubt(self, (mark, own), keep)
        elif keep is not None:
            keep()
        return chunk

    def _decode(self, array: ArrayLayout, position: tuple[int, ...], data: bytes) -> NDArray[Any]:
        try:
            chunk = decode_chunk(data, array.chunk_px, array.dtype)
        except ValueError as error:
            raise self._broken(f"{array.name}, chunk {position}", error) from error
        chunk.setflags(write=False)
        return chunk

    def _read(self, array: ArrayLayout, position: tuple[int, ...]) -> tuple[bytes | None, Tag]:
        """The chunk's bytes, None where nothing is stored, and the tag of its object."""
        with self._place.errors():
            key = array.object_of(position)
            if array.shard_px is None:
                return self._ranges.read(key) or (None, None)
            across = array.shard_px // array.chunk_px
            number = position[-2] % across * across + position[-1] % across
            for _ in range(_TRIES):
                found = self._index(key, across * across)
                if found is None:
                    return None, None
                entries, tag = found
                offset, nbytes = entries[number].tolist()
                if offset == nbytes == NOTHING:
                    if self._ranges.tag(key) == tag:
                        return None, tag
                else:
                    data = self._ranges.read_part(key, offset, nbytes, tag)
                    if data is not None:
                        return data, tag
                self._forget(key)
        raise StoreError(f"{self.name}/{key} is written again and again; read it when the build has ended")

    def _index(self, key: str, chunks: int) -> Index | None:
        """Where the chunks of a shard lie; None, which is not remembered, where it is not there (yet)."""
        with self._lock:
            held = self._indices.get(key)
            if held is not None:
                self._indices.move_to_end(key)
                return held
        found = self._ranges.read_end(key, index_nbytes(chunks))
        if found is None:
            return None
        table, tag = found
        try:
            index = decode_index(table), tag
        except ValueError as error:
            raise self._broken(key, error) from error
        with self._lock:
            self._indices[key] = index
            while len(self._indices) * chunks > INDEX_ENTRIES:
                self._indices.popitem(last=False)
        return index

    def _forget(self, key: str) -> None:
        with self._lock:
            self._indices.pop(key, None)

    def _broken(self, what: str, error: ValueError) -> StoreError:
        return StoreError(
            f"{self.name}/{what} is broken: {error}; run shdask verify --repair on the cube, then build again"
        )


def _make(place: Place, cache: ChunkCache, may_change: bool) -> ChunkSource:
    return ChunkSource(place, cache, may_change=may_change)
