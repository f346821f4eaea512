"""Reading every tile of a cube back, to tell whether its pixels are still those that were stored.

Refuses to buy anything, and to take a store that does not answer for one that is broken.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from shdask.assemble.checksum import add_to_checksum
from shdask.assemble.conventions import NO_TILE, NOT_CHOSEN, OUTSIDE_AREA
from shdask.assemble.layout import Layout, object_key
from shdask.assemble.ledger import Ledger, read_ledger
from shdask.assemble.place import Place, open_place
from shdask.assemble.store import CubeStore, find_marks, read_cube_attributes, tile_index
from shdask.assemble.template import DATA_MASK, TILE_STATE
from shdask.errors import StoreError
from shdask.model import Tile, TileState

READERS = 8
_AT_ONCE = 256
SHOWN_TILES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What a cube's tiles are worth; lists hold tile indices. Its text is for people."""

    store: str
    tiles: int
    """Of the cube."""
    sound: int
    """Tiles that read back as they were stored."""
    broken: dict[int, str] = field(default_factory=dict)
    """Tile index -> why: it reads back otherwise than it was stored, or not at all."""
    missing: tuple[int, ...] = ()
    """Tiles of which the ledger says written, and that are not there; a build fetches them again."""
    unrecorded: tuple[int, ...] = ()
    """Tiles that are there and can be read, and of which no row tells a checksum."""

    @property
    def whole(self) -> bool:
        """Whether nothing that was stored is broken or missing."""
        return not self.broken and not self.missing

    def as_dict(self) -> dict[str, object]:
        """The report as JSON-able values."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{self.store}: {self.sound} of {self.tiles} tiles read back as they were stored"]
        lines += [f"tile {tile} is broken: {why}" for tile, why in list(self.broken.items())[:SHOWN_TILES]]
        if len(self.broken) > SHOWN_TILES:
            lines.append(f"... and {len(self.broken) - SHOWN_TILES} more are broken")
        if self.missing:
            lines.append(f"missing    {_shown(self.missing)}; the next build fetches them again")
        if self.unrecorded:
            lines.append(f"no record  {_shown(self.unrecorded)}; they can be read, and nothing tells their checksum")
        return "\n".join(lines)


def _shown(tiles: Sequence[int]) -> str:
    more = f", ... ({len(tiles)} in all)" if len(tiles) > SHOWN_TILES else ""
    return f"tiles {', '.join(map(str, tiles[:SHOWN_TILES]))}{more}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CubeTiles:
    """Where the tiles of a cube lie, read from the cube alone."""

    layout: Layout
    cells: NDArray[np.uint8]
    """What ``tile_state`` held when the last run ended: (tile_y, tile_x), or (time, tile_y, tile_x)."""
    indices: NDArray[np.intp]
    """Of the cube's tiles, ascending."""

    @classmethod
    def of(cls, place: Place, attributes: dict[str, Any]) -> CubeTiles:
        """Those of the cube at ``place`` with these root attributes. Raises StoreError."""
        with place.errors():
            cells = np.asarray(zarr.open_array(place.zarr_store(read_only=True), path=TILE_STATE, mode="r")[...])
        found = attributes["layout"]
        layout = Layout(
            shape=(attributes["spatial:shape"][0], attributes["spatial:shape"][1]),
            tile_px=found["tile_px"],
            chunk_px=found["chunk_px"],
            sharded=found["sharded"],
        )
        return cls(layout=layout, cells=cells, indices=np.flatnonzero(cells < NOT_CHOSEN))

    @property
    def rows(self) -> NDArray[np.intp]:
        """Row of each tile in the tile grid, in the order of ``indices``."""
        return np.asarray(self.indices // self.cells.shape[-1] % self.cells.shape[-2])

    @property
    def columns(self) -> NDArray[np.intp]:
        """Column of each tile in the tile grid, in the order of ``indices``."""
        return np.asarray(self.indices % self.cells.shape[-1])

    def states(self) -> NDArray[np.uint8]:
        """`TileState` by tile index; what is no tile counts as EMPTY."""
        return np.where(self.cells < NOT_CHOSEN, self.cells, TileState.EMPTY).ravel()

    def not_bought(self) -> dict[str, int]:
        """Of how many cells of the area `tile_state` says which reason not to buy them."""
        return {
            name: int(np.count_nonzero(self.cells == code)) for code, name in NO_TILE.items() if code != OUTSIDE_AREA
        }

    def tile(self, index: int) -> Tile:
        """The tile at ``index``. Raises IndexError where there is none."""
        if not 0 <= index < self.cells.size or self.cells.flat[index] >= NOT_CHOSEN:
            raise IndexError(f"tile {index} is none of the cube's")
        *step, row, column = (int(part) for part in np.unravel_index(index, self.cells.shape))
        extent = self.layout.extent(row, column)
        return Tile(
            index=index, step=step[0] if step else None, row=row, column=column, extent=extent, windows=(extent,)
        )

    def marks(self, place: Place) -> NDArray[np.bool_]:
        """Whether a commit mark stands, by tile index. Raises StoreError."""
        *steps, _, _ = self.cells.shape
        found = find_marks(place, self.layout, steps[0] if steps else 1, has_time=bool(steps))
        return found.ravel() & (self.cells.ravel() < NOT_CHOSEN)


def verify_cube(
    store: str | os.PathLike[str] | Place, *, on_progress: Callable[[int, int], None] | None = None
) -> VerifyReport:
    """Read every tile of the cube at ``store`` back and compare it with its checksum. Changes nothing.

    ``on_progress`` hears, in this thread, how many tiles of how many are read.
    Raises StoreError where there is no cube of ours, or where the store does not answer.
    """
    place = open_place(store)
    attributes = read_cube_attributes(place)
    tiles, ledger = CubeTiles.of(place, attributes), read_ledger(place)
    stands = tiles.marks(place)
    said = np.zeros(stands.size, np.uint8)
    checksums = np.full(stands.size, -1, np.int64)
    known = min(stands.size, ledger.states.size)
    said[:known], checksums[:known] = ledger.states[:known], ledger.checksums[:known]
    todo = np.flatnonzero(stands)
    names = [*attributes["bands"], DATA_MASK]
    with place.errors():
        zarr_store = place.zarr_store(read_only=True)
        arrays = [zarr.open_array(zarr_store, path=name, mode="r") for name in names]
    broken: dict[int, str] = {}
    unrecorded: list[int] = []
    read = _read_all(place, arrays, tiles, todo)
    for done, (tile, found) in enumerate(read, start=1):
        if isinstance(found, str):
            broken[tile] = found
        elif checksums[tile] < 0:
            unrecorded.append(tile)
        elif found != checksums[tile]:
            broken[tile] = "it holds other pixels than were stored"
        if on_progress is not None:
            on_progress(done, todo.size)
    return VerifyReport(
        store=place.name,
        tiles=tiles.indices.size,
        sound=todo.size - len(broken) - len(unrecorded),
        broken=broken,
        missing=tuple(np.flatnonzero((said == TileState.WRITTEN) & ~stands).tolist()),
        unrecorded=tuple(unrecorded),
    )


def find_broken(cube: CubeStore, checksums: Mapping[int, int]) -> dict[int, str]:
    """Why tiles of these ``checksums`` cannot be read back as they were stored, by index; sound ones are left out.

    Changes nothing. Raises StoreError where the store does not answer.
    """
    place = cube.place
    tiles = CubeTiles.of(place, read_cube_attributes(place))
    arrays = [cube.arrays[name] for name in (*(band.name for band in cube.plan.layer.bands), DATA_MASK)]
    read = {tile: _read_checksum(place, arrays, tiles, tile) for tile in checksums}
    return {
        tile: found if isinstance(found, str) else f"tile {tile} holds other pixels than were stored"
        for tile, found in read.items()
        if found != checksums[tile]
    }


def _read_all(
    place: Place, arrays: Sequence[zarr.Array[Any]], tiles: CubeTiles, todo: NDArray[np.intp]
) -> Iterator[tuple[int, int | str]]:
    """(tile, its checksum, or why it cannot be read), in order, some read side by side."""

    def read(tile: int) -> int | str:
        return _read_checksum(place, arrays, tiles, tile)

    with ThreadPoolExecutor(READERS, thread_name_prefix="shdask-verify") as pool:
        for start in range(0, todo.size, _AT_ONCE):
            some = todo[start : start + _AT_ONCE].tolist()
            yield from zip(some, pool.map(read, some), strict=True)


def _read_checksum(place: Place, arrays: Sequence[zarr.Array[Any]], tiles: CubeTiles, tile: int) -> int | str:
    where = tile_index(tiles.tile(tile))
    checksum = 0
    try:
        with place.errors():
            for array in arrays:
                checksum = add_to_checksum(checksum, np.asarray(array[where]))
    except StoreError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EIO:  # a bad sector
            return str(error)
        raise
    except Exception as error:  # noqa: BLE001  # whatever a codec says of bytes that it cannot decode
        return f"{type(error).__name__}: {error}"
    return checksum


def forget(store: str | os.PathLike[str] | Place, tiles: Sequence[int]) -> None:
    """Take away ``tiles``, by index, so that the next build fetches them, and only them, again; commit marks go first.

    Raises StoreError where there is no cube of ours, or while another process builds it; IndexError for no tile.
    """
    place = open_place(store)
    attributes = read_cube_attributes(place)
    found = CubeTiles.of(place, attributes)
    marks = [object_key(DATA_MASK, found.layout.mark(found.tile(tile))) for tile in tiles]
    # zarr reads what stands where a tile ends at the array's edge, and what stands may be no shard any more
    others = [
        object_key(name, position)
        for name in (*attributes["bands"], DATA_MASK)
        for tile in tiles
        for position in found.layout.objects(found.tile(tile))
    ]
    if not marks:
        return
    with Ledger.open(place) as ledger:
        with place.errors():
            root = zarr.open_group(place.zarr_store(), mode="r+")
            root.update_attributes({"complete": False})
        # cut short, it must not leave a mark of which no checksum tells, nor let what is gone be kept as it grows
        ledger.forget([tile for tile in tiles if tile in ledger.past.reopened])
        for key in marks:
            place.remove(key)
        ledger.forget(tiles)
        for key in others:
            place.remove(key)
        with place.errors():
            states = zarr.open_array(place.zarr_store(), path=TILE_STATE, mode="r+")
            cells = np.asarray(states[...])
            cells.flat[list(tiles)] = TileState.UNTRIED
            states[...] = cells
