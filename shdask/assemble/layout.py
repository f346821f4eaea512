"""Which objects of a cube belong to which tile. Pure arithmetic on tile rows and columns.

Refuses to know what is in them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shdask.model import Tile, Window

Position = tuple[int, ...]
"""(row, column) of an object of a (y, x) array, (step, row, column) of one of a (time, y, x) array."""


def object_key(array: str, position: Position) -> str:
    """Where an object (shard, or chunk of an unsharded array) of ``array`` lies: Zarr's default key. Pure."""
    return "/".join((array, "c", *map(str, position)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How arrays of a cube are cut in y and x: into shards of ``tile_px``, or, unsharded, chunks of ``chunk_px``.

    In time every step is an object of its own.
    """

    shape: tuple[int, int]
    """(y, x)."""
    tile_px: int
    chunk_px: int
    sharded: bool

    @property
    def object_px(self) -> int:
        """Side of the pixels that one object holds: a tile, or a chunk where tiles are no shards."""
        return self.tile_px if self.sharded else self.chunk_px

    def extent(self, row: int, column: int) -> Window:
        """The pixels of the tile at (``row``, ``column``) of the tile grid, clipped at the array's edge. Pure."""
        side, (height, width) = self.tile_px, self.shape
        y, x = row * side, column * side
        return Window(y0=y, y1=min(y + side, height), x0=x, x1=min(x + side, width))

    @property
    def tiles_across(self) -> tuple[int, int]:
        """(rows, columns) of the tile grid."""
        return -(-self.shape[0] // self.tile_px), -(-self.shape[1] // self.tile_px)

    @property
    def objects_across(self) -> tuple[int, int]:
        """(rows, columns) of objects of one array at one step."""
        return -(-self.shape[0] // self.object_px), -(-self.shape[1] // self.object_px)

    def objects(self, tile: Tile, window: Window | None = None) -> list[Position]:
        """Every object of one array that the tile owns, or those of it that a ``window`` touches. Pure."""
        side, extent = self.object_px, window or tile.extent
        rows = range(extent.y0 // side, -(-extent.y1 // side))
        columns = range(extent.x0 // side, -(-extent.x1 // side))
        return [_at(tile.step, row, column) for row in rows for column in columns]

    def is_whole_shard(self, window: Window) -> bool:
        """Whether a tile's ``window`` is one object with nothing beyond the array's edge. Pure."""
        return self.sharded and window.shape == (self.tile_px, self.tile_px)

    def mark(self, tile: Tile) -> Position:
        """The ``data_mask`` object that commits the tile: the one at its lower right. Pure."""
        return _at(tile.step, (tile.extent.y1 - 1) // self.object_px, (tile.extent.x1 - 1) // self.object_px)

    def marks(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(rows, columns) of the `mark` of tiles at (``rows``, ``columns``) of the tile grid. Pure."""
        last_y = np.minimum((rows + 1) * self.tile_px, self.shape[0]) - 1
        last_x = np.minimum((columns + 1) * self.tile_px, self.shape[1]) - 1
        return last_y // self.object_px, last_x // self.object_px

    def steps(self, tile: Tile) -> list[Window]:
        """The tile's pixels in the order its mask is written: the commit mark's object alone and last. Pure.

        zarr writes the objects of one call in no promised order, so each step waits for the one before.
        """
        extent = tile.extent
        row, column = self.mark(tile)[-2:]
        y, x = max(row * self.object_px, extent.y0), max(column * self.object_px, extent.x0)
        parts = [
            Window(y0=extent.y0, y1=y, x0=extent.x0, x1=extent.x1),
            Window(y0=y, y1=extent.y1, x0=extent.x0, x1=x),
            Window(y0=y, y1=extent.y1, x0=x, x1=extent.x1),
        ]
        return [part for part in parts if part.pixel_count]


def _at(step: int | None, row: int, column: int) -> Position:
    return (row, column) if step is None else (step, row, column)
